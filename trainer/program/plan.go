package program

import (
	"slices"

	"github.com/dither-ml/dither/trainer/kernel"
)

// align is an arena's grain in elements: a cache line of float32, and what a set wants of bfloat16.
const align = 16

func aligned(n int) int { return (n + align - 1) / align * align }

// plan gives every value without memory of its own a place in the arena of its type, so that no two that are needed at one time overlap, and says how
// large each arena is. Values are placed in the order of the steps, each into the tightest gap.
func plan(steps []*Step) (elements map[kernel.Type]int) {
	inPlace(steps)
	last := lastUses(steps)
	elements, free := map[kernel.Type]int{}, map[kernel.Type][]gap{}
	ends := make([][]*Value, len(steps))
	for i, s := range steps {
		for _, v := range s.values() {
			v = v.root()
			if v.kept || v.planned {
				continue
			}
			v.planned = true
			v.offset, free[v.kind], elements[v.kind] = take(free[v.kind], aligned(v.Len), elements[v.kind])
			if end := last[v]; !v.lasts {
				ends[end] = append(ends[end], v)
			}
		}
		for _, v := range ends[i] {
			free[v.kind] = give(free[v.kind], gap{v.offset, v.offset + aligned(v.Len)})
		}
	}
	return elements
}

// values are all that a step touches.
func (s *Step) values() []*Value {
	switch s.Kind {
	case Start, Wait: // the sum may come at any time between them
		return []*Value{s.Reduction.In, s.Reduction.Out}
	}
	return s.Args
}

func lastUses(steps []*Step) map[*Value]int {
	last := map[*Value]int{}
	for i, s := range steps {
		for _, v := range s.values() {
			last[v.root()] = i
		}
	}
	return last
}

// inPlace lets ReLU, its gradient and additions write over an argument that nobody reads afterwards.
func inPlace(steps []*Step) {
	last := lastUses(steps)
	for i, s := range steps {
		if s.Kind != Compute {
			continue
		}
		var candidates []*Value
		switch s.Op.Kind {
		case kernel.ReLU, kernel.ReLUGrad:
			candidates = s.Args[:1]
		case kernel.Add:
			candidates = s.Args[:2]
		}
		out := s.Args[len(s.Args)-1]
		for _, v := range candidates {
			v = v.root()
			if !v.kept && !out.kept && out.root() == out && out != v && !v.lasts && last[v] == i && v.Len == out.Len && v.kind == out.kind {
				out.alias = v
				v.lasts = out.lasts
				last[v] = last[out]
				break
			}
		}
	}
}

// gap is free elements [from, to) of the arena.
type gap struct{ from, to int }

// take finds n elements: the tightest gap, or new ones at the arena's end, together with a gap there.
func take(free []gap, n, elements int) (offset int, left []gap, grown int) {
	best := -1
	for i, g := range free {
		if size := g.to - g.from; size >= n && (best < 0 || size < free[best].to-free[best].from) {
			best = i
		}
	}
	if best < 0 {
		if k := len(free) - 1; k >= 0 && free[k].to == elements {
			from := free[k].from
			return from, free[:k], from + n
		}
		return elements, free, elements + n
	}
	offset = free[best].from
	if free[best].from += n; free[best].from == free[best].to {
		free = slices.Delete(free, best, best+1)
	}
	return offset, free, elements
}

// give puts a gap back, joined with its neighbours.
func give(free []gap, g gap) []gap {
	i, _ := slices.BinarySearchFunc(free, g, func(a, b gap) int { return a.from - b.from })
	free = slices.Insert(free, i, g)
	if i+1 < len(free) && free[i].to == free[i+1].from {
		free[i].to = free[i+1].to
		free = slices.Delete(free, i+1, i+2)
	}
	if i > 0 && free[i-1].to == free[i].from {
		free[i-1].to = free[i].to
		free = slices.Delete(free, i, i+1)
	}
	return free
}
