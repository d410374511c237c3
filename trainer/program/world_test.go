package program

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cpu"
	"github.com/dither-ml/dither/trainer/model"
)

// pad is the views' padding in tests.
const pad = 4

func openCPU(t testing.TB, threads int) kernel.Set {
	t.Helper()
	set, err := cpu.New(cpu.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set
}

// world sums over the shards of several trainers in one process, each in its goroutine, for one step.
type world struct {
	mu      sync.Mutex
	changed *sync.Cond
	shards  int
	parts   map[uint32][][]float32 // by collective: each shard's own slice, nil until it has come
	sums    map[uint32][]float32   // made when the last shard has come, before any Wait returns: then the slices are the trainers' again
	broken  error                  // what Wait answers instead of a sum
}

func newWorld(shards int) *world {
	w := &world{shards: shards, parts: map[uint32][][]float32{}, sums: map[uint32][]float32{}}
	w.changed = sync.NewCond(&w.mu)
	return w
}

// member is a trainer's view: its shards begin at first.
type member struct {
	*world
	first int
}

// alone is the collective of the only trainer.
func alone(shards int) Collective { return member{newWorld(shards), 0} }

func (m member) Start(id uint32, shards [][]float32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.parts[id] == nil {
		m.parts[id] = make([][]float32, m.shards)
	}
	for i, v := range shards {
		if m.parts[id][m.first+i] != nil {
			panic(fmt.Sprintf("shard %d came twice to collective %d", m.first+i, id))
		}
		m.parts[id][m.first+i] = v // kept, not copied: whoever writes to it before Wait returns breaks the sum
	}
	for _, v := range m.parts[id] {
		if v == nil {
			return
		}
	}
	m.sums[id] = slices.Clone(tree(m.parts[id]))
	m.changed.Broadcast()
}

func (m member) Wait(id uint32, sum []float32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return m.broken
	}
	for m.sums[id] == nil {
		m.changed.Wait()
	}
	copy(sum, m.sums[id])
	return nil
}

// tree sums in the fixed tree, anew and not in place.
func tree(parts [][]float32) []float32 {
	if len(parts) == 1 {
		return parts[0]
	}
	m := kernel.Split(0, len(parts))
	a, b := tree(parts[:m]), tree(parts[m:])
	sum := make([]float32, len(a))
	for i := range sum {
		sum[i] = a[i] + b[i]
	}
	return sum
}

// samples are made-up samples of a shape.
type samples struct {
	pixels           []byte
	geometry, labels []int32
	soft             []float32
}

func makeSamples(n int, s model.Shape, seed uint64) samples {
	r := rand.New(rand.NewPCG(seed, 1))
	size := s.Channels * s.Height * s.Width
	v := samples{make([]byte, n*size), make([]int32, 3*n), make([]int32, n), make([]float32, n*s.Classes)}
	for i := range v.pixels {
		v.pixels[i] = byte(r.UintN(256))
	}
	for i := range n {
		v.geometry[3*i], v.geometry[3*i+1], v.geometry[3*i+2] = r.Int32N(2*pad+1), r.Int32N(2*pad+1), r.Int32N(2)
		v.labels[i] = r.Int32N(int32(s.Classes))
	}
	for i := range v.soft {
		v.soft[i] = float32(r.NormFloat64())
	}
	return v
}

// part is the samples [from, to).
func (v samples) part(from, to int, s model.Shape) samples {
	size := s.Channels * s.Height * s.Width
	return samples{v.pixels[from*size : to*size], v.geometry[3*from : 3*to], v.labels[from:to], v.soft[from*s.Classes : to*s.Classes]}
}

func (v samples) into(t testing.TB, p *Training) {
	t.Helper()
	if err := p.Input(v.pixels, v.geometry, v.labels, v.soft); err != nil {
		t.Fatal(err)
	}
}

// normalised is a mean and a standard deviation for any number of channels.
func normalised(channels int) (mean, std []float64) {
	for c := range channels {
		mean, std = append(mean, 0.4+float64(c)/20), append(std, 0.25)
	}
	return mean, std
}

// startValue is where element i of a parameter starts in tests: like He et al. in size, a function of the name and i.
func startValues(p model.Parameter) []float32 {
	seed := uint64(len(p.Name))
	for _, c := range p.Name {
		seed = seed*31 + uint64(c)
	}
	r := rand.New(rand.NewPCG(seed, 2))
	v := make([]float32, p.Len())
	for i := range v {
		x := r.NormFloat64()
		switch p.Kind {
		case model.Weight:
			x *= math.Sqrt(2 / float64(p.FanIn))
		case model.Gamma, model.Variance:
			x = 1 + 0.3*math.Tanh(x)
		default:
			x *= 0.1
		}
		v[i] = float32(x)
	}
	return v
}

func loadStart(t testing.TB, ps []model.Parameter, load func(string, []float32) error) {
	t.Helper()
	for _, p := range ps {
		if err := load(p.Name, startValues(p)); err != nil {
			t.Fatal(err)
		}
	}
}

func newTraining(t testing.TB, set kernel.Set, c TrainingConfig) *Training {
	t.Helper()
	p, err := NewTraining(set, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// state is every number that a trainer keeps between iterations, by name.
func keptState(t testing.TB, p *Training) map[string][]float32 {
	t.Helper()
	all := map[string][]float32{}
	for _, q := range p.Parameters() {
		v := make([]float32, q.Len())
		if err := p.Read(q.Name, v); err != nil {
			t.Fatal(err)
		}
		all[q.Name] = v
		if q.Trainable {
			m := make([]float32, q.Len())
			if err := p.ReadMomentum(q.Name, m); err != nil {
				t.Fatal(err)
			}
			all["momentum of "+q.Name] = m
		}
	}
	return all
}

// sameBits fails where two states differ in a bit.
func sameBits(t testing.TB, what string, got, want map[string][]float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d tensors beside %d", what, len(got), len(want))
	}
	for name, w := range want {
		for i, g := range got[name] {
			if math.Float32bits(g) != math.Float32bits(w[i]) {
				t.Fatalf("%s: %s[%d] is %v, not %v", what, name, i, g, w[i])
			}
		}
	}
}

// away is ||got - want|| / ||want||.
func away(got, want []float64) float64 {
	var d, w float64
	for i := range want {
		d += (got[i] - want[i]) * (got[i] - want[i])
		w += want[i] * want[i]
	}
	if w == 0 {
		w = 1
	}
	return math.Sqrt(d / w)
}

func widen(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}
