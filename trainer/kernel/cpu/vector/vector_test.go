package vector

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// call is one call of a primitive: on set s, with the buffers of m.
type call func(s *Set, m *memory)

// calls makes a random call of each primitive, whose buffers it adds to m, and says of what shape.
var calls = map[string]func(m *memory) (c call, shape string){
	"Multiply": func(m *memory) (call, string) {
		p := product(m, 8)
		p.LeftRow = m.between(p.Depth, p.Depth+9)
		p.LeftPosition = m.between(p.Rows*p.LeftRow, p.Rows*p.LeftRow+40)
		left := m.add(dim{p.Positions, p.LeftPosition}, dim{p.Rows, p.LeftRow}, dim{p.Depth, 1})
		right, out, read, write := rest(m, p)
		return func(s *Set, m *memory) { s.Multiply(p, m.p(left), m.p(right), m.p(out), m.ahead(p, read), m.p(write)) }, fmt.Sprintf("%+v", *p)
	},
	"Accumulate": func(m *memory) (call, string) {
		p := product(m, 16)
		p.LeftRow = m.between(p.Rows, p.Rows+9)
		p.LeftPosition = m.between(p.Depth*p.LeftRow, p.Depth*p.LeftRow+40)
		left := m.add(dim{p.Positions, p.LeftPosition}, dim{p.Depth, p.LeftRow}, dim{p.Rows, 1})
		right, out, read, _ := rest(m, p)
		first := m.r.IntN(2) == 0
		return func(s *Set, m *memory) { s.Accumulate(p, m.p(left), m.p(right), m.p(out), m.ahead(p, read), first) }, fmt.Sprintf("%+v, first %v", *p, first)
	},

	"InputTiles": func(m *memory) (call, string) {
		n := 1 + m.r.IntN(5)
		in, row := pixels(m, 6, 4*n+2)
		out, position, tile := transformed(m, n)
		return func(s *Set, m *memory) { s.InputTiles(m.p(in), row, m.p(out), position, tile, n) }, tileShape(row, position, tile, n)
	},
	"GradTiles": func(m *memory) (call, string) {
		n := 1 + m.r.IntN(5)
		in, row := pixels(m, 4, 4*n)
		out, position, tile := transformed(m, n)
		return func(s *Set, m *memory) { s.GradTiles(m.p(in), row, m.p(out), position, tile, n) }, tileShape(row, position, tile, n)
	},
	"OutputTiles": func(m *memory) (call, string) {
		n := 1 + m.r.IntN(5)
		in, position, tile := transformed(m, n)
		out, row := pixels(m, 4, 4*n)
		return func(s *Set, m *memory) { s.OutputTiles(m.p(in), position, tile, m.p(out), row, n) }, tileShape(row, position, tile, n)
	},
	"WeightTiles": func(m *memory) (call, string) {
		n, lanes, flip := 1+m.r.IntN(4), 1+m.r.IntN(Lanes), m.r.IntN(2) == 0
		if m.r.IntN(2) == 0 {
			lanes = Lanes
		}
		step := m.between(9, 20)
		lane := m.between(step*n, step*n+20)
		if m.r.IntN(2) == 0 {
			lane = m.between(9, 20)
			step = m.between(lane*lanes, lane*lanes+20)
		}
		in := m.add(dim{n, step}, dim{lanes, lane}, dim{9, 1})
		out, position, next := transformed(m, n)
		return func(s *Set, m *memory) { s.WeightTiles(m.p(in), lane, lanes, flip, step, m.p(out), position, next, n) },
			fmt.Sprintf("lane %d, lanes %d, flip %v, step %d, position %d, next %d, n %d", lane, lanes, flip, step, position, next, n)
	},
	"WeightGradTiles": func(m *memory) (call, string) {
		n := 1 + m.r.IntN(5)
		position, tap := m.between(n*Lanes, n*Lanes+40), m.between(n*Lanes, n*Lanes+40)
		in, out := m.add(dim{36, position}, dim{n * Lanes, 1}), m.add(dim{9, tap}, dim{n * Lanes, 1})
		return func(s *Set, m *memory) { s.WeightGradTiles(m.p(in), position, m.p(out), tap, n) }, fmt.Sprintf("position %d, tap %d, n %d", position, tap, n)
	},

	"Norm": func(m *memory) (call, string) {
		a := pass(m, 1, 1, 2, 0)
		return func(s *Set, m *memory) {
			s.Norm(m.p(a.out[0]), m.p(a.in[0]), m.p(a.channel[0]), m.p(a.channel[1]), a.n)
		}, a.String()
	},
	"NormReLU": func(m *memory) (call, string) {
		a := pass(m, 1, 1, 2, 0)
		return func(s *Set, m *memory) {
			s.NormReLU(m.p(a.out[0]), m.p(a.in[0]), m.p(a.channel[0]), m.p(a.channel[1]), a.n)
		}, a.String()
	},
	"NormAddReLU": func(m *memory) (call, string) {
		a := pass(m, 2, 2, 2, 0)
		return func(s *Set, m *memory) {
			s.NormAddReLU(m.p(a.out[0]), m.p(a.out[1]), m.p(a.in[0]), m.p(a.in[1]), m.p(a.channel[0]), m.p(a.channel[1]), a.n)
		}, a.String()
	},
	"NormGrad": func(m *memory) (call, string) {
		a := pass(m, 1, 2, 3, 0)
		return func(s *Set, m *memory) {
			s.NormGrad(m.p(a.out[0]), m.p(a.in[0]), m.p(a.in[1]), m.p(a.channel[0]), m.p(a.channel[1]), m.p(a.channel[2]), a.n)
		}, a.String()
	},
	"Scale": func(m *memory) (call, string) {
		a := pass(m, 1, 1, 1, 0)
		return func(s *Set, m *memory) { s.Scale(m.p(a.out[0]), m.p(a.in[0]), m.p(a.channel[0]), a.n) }, a.String()
	},
	"Sums": func(m *memory) (call, string) {
		a := pass(m, 0, 1, 1, 1)
		return func(s *Set, m *memory) { s.Sums(m.p(a.in[0]), m.p(a.channel[0]), m.p(a.acc), a.n) }, a.String()
	},
	"GradSums": func(m *memory) (call, string) {
		a := pass(m, 0, 2, 1, 1)
		return func(s *Set, m *memory) { s.GradSums(m.p(a.in[0]), m.p(a.in[1]), m.p(a.channel[0]), m.p(a.acc), a.n) }, a.String()
	},
	"NormReLUGradSums": func(m *memory) (call, string) {
		a := pass(m, 1, 2, 3, 1)
		return func(s *Set, m *memory) {
			s.NormReLUGradSums(m.p(a.out[0]), m.p(a.in[0]), m.p(a.in[1]), m.p(a.channel[0]), m.p(a.channel[1]), m.p(a.channel[2]), m.p(a.acc), a.n)
		}, a.String()
	},
	"AddReLUGradSums": func(m *memory) (call, string) {
		a := pass(m, 1, 4, 1, 1)
		return func(s *Set, m *memory) {
			s.AddReLUGradSums(m.p(a.out[0]), m.p(a.in[0]), m.p(a.in[1]), m.p(a.in[2]), m.p(a.in[3]), m.p(a.channel[0]), m.p(a.acc), a.n)
		}, a.String()
	},
	"Add": func(m *memory) (call, string) {
		a := flat(m, 1, 2)
		return func(s *Set, m *memory) { s.Add(m.p(a.out[0]), m.p(a.in[0]), m.p(a.in[1]), a.n) }, a.String()
	},
	"ReLU": func(m *memory) (call, string) {
		a := flat(m, 1, 1)
		return func(s *Set, m *memory) { s.ReLU(m.p(a.out[0]), m.p(a.in[0]), a.n) }, a.String()
	},
	"ReLUGrad": func(m *memory) (call, string) {
		a := flat(m, 1, 2)
		return func(s *Set, m *memory) { s.ReLUGrad(m.p(a.out[0]), m.p(a.in[0]), m.p(a.in[1]), a.n) }, a.String()
	},
	"SGD": func(m *memory) (call, string) {
		a := flat(m, 0, 3)
		momentum, decay, lr := m.value(m.r), m.value(m.r), m.value(m.r)
		return func(s *Set, m *memory) { s.SGD(m.p(a.in[0]), m.p(a.in[1]), m.p(a.in[2]), a.n, momentum, decay, lr) },
			fmt.Sprint(a, " momentum ", momentum, " decay ", decay, " lr ", lr)
	},
	"Average": func(m *memory) (call, string) {
		a := flat(m, 0, 2)
		keep, take, scale := m.value(m.r), m.value(m.r), m.value(m.r)
		return func(s *Set, m *memory) { s.Average(m.p(a.in[0]), m.p(a.in[1]), a.n, keep, take, scale) },
			fmt.Sprint(a, " keep ", keep, " take ", take, " scale ", scale)
	},
}

// Every set gives the very bits of the oracle, in every element of its buffers and round them.
func TestContract(t *testing.T) {
	const each = 25 // calls for each kind of values
	for _, set := range Sets() {
		t.Run(set.Name, func(t *testing.T) {
			for _, name := range slices.Sorted(maps.Keys(calls)) {
				t.Run(name, func(t *testing.T) {
					for _, kind := range slices.Sorted(maps.Keys(kinds)) {
						for seed := range uint64(each) {
							checkCall(t, set, name, kind, seed)
						}
					}
				})
			}
		})
	}
}

func checkCall(t *testing.T, set *Set, name, kind string, seed uint64) {
	m := &memory{r: rand.New(rand.NewPCG(seed, 1)), value: kinds[kind]}
	c, shape := calls[name](m)
	want := m.clone()
	c(&oracle, want)
	c(set, m)
	if b, i, differ := m.difference(want); differ {
		from := m.buffers[b].first + i
		t.Fatalf("%s values, seed %d, %s: buffer %d of %d, element %d is %x, want %x", kind, seed, shape, b, len(m.buffers), i, m.buffers[b].all[from], want.buffers[b].all[from])
	}
}

// product is a shape whose strides of the left factors are still to be chosen.
func product(m *memory, rows int) *Product {
	p := &Product{Positions: 1 + m.r.IntN(4), Rows: rows * (1 + m.r.IntN(3)), Depth: 1 + m.r.IntN(70), Cols: 16 * (1 + m.r.IntN(5)), ReadLines: m.r.IntN(4), WriteLines: m.r.IntN(4)}
	p.RightPosition = m.between(p.Depth*p.Cols, p.Depth*p.Cols+40)
	p.OutPosition = m.between(p.Rows*p.Cols, p.Rows*p.Cols+40)
	return p
}

// rest is the buffers of a product but the left factors'; those to fetch ahead from have one element, so that it is done from beyond their ends.
func rest(m *memory, p *Product) (right, out, read, write int) {
	return m.add(dim{p.Positions, p.RightPosition}, dim{p.Depth * p.Cols, 1}), m.add(dim{p.Positions, p.OutPosition}, dim{p.Rows * p.Cols, 1}), m.add(dim{1, 1}), m.add(dim{1, 1})
}

// ahead is the address of a buffer's beginning for each position; nil where nothing is to be read ahead.
func (m *memory) ahead(p *Product, buffer int) *uintptr {
	if p.ReadLines == 0 {
		return nil
	}
	addresses := make([]uintptr, p.Positions)
	for i := range addresses {
		addresses[i] = uintptr(unsafe.Pointer(m.p(buffer)))
	}
	return &addresses[0]
}

// pixels is rows of so many of a block's pixels.
func pixels(m *memory, rows, width int) (buffer, row int) {
	row = m.between(width*Lanes, width*Lanes+40)
	return m.add(dim{rows, row}, dim{width * Lanes, 1}), row
}

// transformed is the positions of n tiles, those of a tile or the tiles of a position together.
func transformed(m *memory, n int) (buffer, position, tile int) {
	tile = m.between(Lanes, 40)
	position = m.between(tile*n, tile*n+40)
	if m.r.IntN(2) == 0 {
		position = m.between(Lanes, 40)
		tile = m.between(36*position, 36*position+40)
	}
	return m.add(dim{36, position}, dim{n, tile}, dim{Lanes, 1}), position, tile
}

func tileShape(row, position, tile, n int) string {
	return fmt.Sprintf("row %d, position %d, tile %d, n %d", row, position, tile, n)
}

// arrays is the buffers of a pass; an output may be an input's.
type arrays struct {
	n                int
	out, in, channel []int
	acc              int
}

func (a arrays) String() string {
	return fmt.Sprintf("n %d, outputs %v, inputs %v", a.n, a.out, a.in)
}

// pass is the arrays of a pass over pixels.
func pass(m *memory, outputs, inputs, channels, accumulators int) arrays {
	a := passOver(m, outputs, inputs, m.r.IntN(14), Lanes)
	for range channels {
		a.channel = append(a.channel, m.add(dim{Lanes, 1}))
	}
	for range accumulators {
		a.acc = m.add(dim{2 * 4 * Lanes, 1})
	}
	return a
}

// flat is the arrays of a pass over numbers.
func flat(m *memory, outputs, inputs int) arrays {
	return passOver(m, outputs, inputs, m.r.IntN(100), 1)
}

func passOver(m *memory, outputs, inputs, n, width int) arrays {
	a := arrays{n: n}
	for range inputs {
		a.in = append(a.in, m.add(dim{n * width, 1}))
	}
	free := m.r.Perm(inputs)
	for i := range outputs {
		if m.r.IntN(2) == 0 {
			a.out = append(a.out, a.in[free[i]])
		} else {
			a.out = append(a.out, m.add(dim{n * width, 1}))
		}
	}
	return a
}
