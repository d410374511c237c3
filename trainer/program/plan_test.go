package program

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cpu"
	"github.com/dither-ml/dither/trainer/model"
)

// recording remembers what a program allocates.
type recording struct {
	kernel.Set
	allocated []kernel.Memory
}

func (r *recording) Alloc(t kernel.Type, n int) (kernel.Memory, error) {
	m, err := r.Set.Alloc(t, n)
	r.allocated = append(r.allocated, m)
	return m, err
}

// lifetime is where a value lies in the arena, and the steps over which it is needed.
type lifetime struct {
	value       *Value
	from, to    int
	first, last int
}

func (a lifetime) over(b lifetime) bool { return a.from < b.to && b.from < a.to }

// whole is the value that v is a piece of.
func whole(v *Value) *Value {
	for v.of != nil {
		v = v.of
	}
	return v
}

// planned is a training program with its arena laid open, worked out anew from the steps.
type planned struct {
	*Training
	arena []float32
	lives []lifetime
}

func newPlanned(t *testing.T, c TrainingConfig) *planned {
	t.Helper()
	set, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	record := &recording{Set: set}
	p, err := NewTraining(record, c)
	if err != nil {
		t.Fatal(err)
	}
	host := func(m kernel.Memory) (data []float32, at uintptr) {
		if m.Type() == kernel.Real && m.Len() > 0 {
			data = p.machine.stream.Host(m)
			at = uintptr(unsafe.Pointer(&data[0]))
		}
		return data, at
	}
	out := &planned{Training: p}
	_, loss := host(p.loss.Memory)
	var base uintptr
	for _, m := range record.allocated {
		if data, at := host(m); data != nil && at <= loss && loss < at+4*uintptr(len(data)) {
			out.arena, base = data, at
		}
	}
	index := map[*Value]int{}
	for i, s := range p.steps {
		for _, v := range s.values() {
			v = whole(v)
			data, at := host(v.Memory)
			if data == nil || at < base || at >= base+4*uintptr(len(out.arena)) {
				continue
			}
			if _, there := index[v]; !there {
				index[v] = len(out.lives)
				from := int(at-base) / 4
				out.lives = append(out.lives, lifetime{v, from, from + v.Len, i, i})
			}
			out.lives[index[v]].last = i
		}
	}
	// What the host reads, and what the commit takes.
	forever := map[uintptr]bool{}
	for _, m := range []kernel.Memory{p.loss.Memory, p.correct.Memory} {
		_, at := host(m)
		forever[at] = true
	}
	for _, l := range p.commit {
		_, at := host(l.args[len(l.args)-1]) // statistics
		forever[at] = true
		if len(l.args) > 2 {
			_, at = host(l.args[2]) // gradient
			forever[at] = true
		}
	}
	for i := range out.lives {
		l := &out.lives[i]
		if at := base + 4*uintptr(l.from); forever[at] && !out.writtenLater(*l) {
			l.last = len(p.steps)
		}
	}
	return out
}

// writtenLater says whether another value begins at l's place after l: then what lies there in the end is the other's.
func (p *planned) writtenLater(l lifetime) bool {
	for _, o := range p.lives {
		if o.from == l.from && o.first > l.first {
			return true
		}
	}
	return false
}

// configs are tiny programs of every kind: alone and as a share of a batch.
func configs() map[string]TrainingConfig {
	all := map[string]TrainingConfig{}
	for _, net := range []string{"mlp", "resnet8A", "resnet8B"} {
		for _, norm := range []string{"shard", "global"} {
			for name, groups := range map[string]int{"all": 4, "some": 2, "one": 1} {
				m := model.Spec{Name: net, Shape: model.Shape{Channels: 3, Height: 8, Width: 8, Classes: 4}}
				if net != "mlp" {
					m.Name, m.Shortcut = net[:7], net[7:]
				}
				all[net+"/"+norm+"/"+name] = TrainingConfig{Model: m, Groups: groups, Images: 2, Batch: 8, Shards: 4, Loss: model.Loss{Quadratic: 0.5, KD: 0.3, CE: 0.2, Temperature: 4},
					BatchNorm: norm, Momentum: 0.9, WeightDecay: 1e-3, Mean: []float64{0.5, 0.4, 0.3}, Std: []float64{0.2, 0.3, 0.25}, Pad: 2}
			}
		}
	}
	return all
}

func TestNoTwoLiveValuesShareMemory(t *testing.T) {
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) {
			p := newPlanned(t, c)
			if len(p.lives) < 10 {
				t.Fatalf("only %d values are planned", len(p.lives))
			}
			for i, a := range p.lives {
				for _, b := range p.lives[:i] {
					if b.first > a.first {
						a, b = b, a
					}
					// An in-place step writes over what it reads last.
					if a.over(b) && (a.first < b.last || (a.first == b.last && a.value.alias == nil)) {
						t.Errorf("%s (steps %d to %d) and %s (steps %d to %d) lie at [%d, %d) and [%d, %d)", b.value.Name, b.first, b.last, a.value.Name, a.first, a.last, b.from, b.to, a.from, a.to)
					}
				}
			}
		})
	}
}

// alone is a collective whose other shards are all zero: enough to run a share of a batch by itself.
type alone map[uint32][][]float32

func (c alone) Start(id uint32, shards [][]float32) { c[id] = shards }

func (c alone) Wait(id uint32, sum []float32) error {
	clear(sum)
	for _, s := range c[id] {
		for i, v := range s {
			sum[i] += v
		}
	}
	return nil
}

// poisonedStep is Step, with NaN in all of the arena that no step needs any more.
func (p *planned) poisonedStep(c Collective) error {
	nan := float32(math.NaN())
	for i := range p.arena {
		p.arena[i] = nan
	}
	poison := func(after int) {
		for _, dead := range p.lives {
			if dead.last != after || slices.ContainsFunc(p.lives, func(l lifetime) bool { return l.first <= after && after < l.last && l.over(dead) }) {
				continue
			}
			for i := dead.from; i < dead.to; i++ {
				p.arena[i] = nan
			}
		}
	}
	for i := range p.launches {
		if p.machine.workspace != nil {
			for j := range p.machine.stream.Host(p.machine.workspace) {
				p.machine.stream.Host(p.machine.workspace)[j] = nan
			}
		}
		if err := p.machine.run(p.launches[i:i+1], c); err != nil {
			return err
		}
		poison(i)
	}
	p.machine.stream.Read(p.losses, p.loss.Memory)
	p.machine.stream.Read(p.corrects, p.correct.Memory)
	return p.machine.stream.Sync()
}

func TestDeadMemoryIsNeverRead(t *testing.T) {
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, 6))
			n := c.Groups * c.Images
			pixels, geometry, labels, soft := make([]byte, n*192), make([]int32, 3*n), make([]int32, n), make([]float32, 4*n)
			for i := range pixels {
				pixels[i] = byte(r.IntN(256))
			}
			for i := range soft {
				soft[i] = float32(r.NormFloat64())
			}
			var results [2][][]float32
			for round := range results {
				p := newPlanned(t, c)
				q := rand.New(rand.NewPCG(7, 8))
				for _, param := range p.Parameters() {
					v := make([]float32, param.Len())
					for i := range v {
						v[i] = float32(0.2 + 0.1*q.NormFloat64())
					}
					if err := p.Load(param.Name, v); err != nil {
						t.Fatal(err)
					}
				}
				if err := p.Input(pixels, geometry, labels, soft); err != nil {
					t.Fatal(err)
				}
				var err error
				if round == 0 {
					_, _, err = p.Step(alone{})
				} else {
					err = p.poisonedStep(alone{})
				}
				if err == nil {
					err = p.Commit(0.1)
				}
				if err != nil {
					t.Fatal(err)
				}
				results[round] = [][]float32{p.losses, p.corrects}
				for _, param := range p.Parameters() {
					v := make([]float32, param.Len())
					if err := p.Read(param.Name, v); err != nil {
						t.Fatal(err)
					}
					results[round] = append(results[round], v)
				}
			}
			for i := range results[0] {
				for j, want := range results[0][i] {
					if got := results[1][i][j]; math.Float32bits(got) != math.Float32bits(want) || want-want != 0 {
						t.Fatalf("element %d of result %d is %v where dead memory is NaN, %v otherwise", j, i, got, want)
					}
				}
			}
		})
	}
}
