// Package kerneltest is the one suite that every kernel set passes: each Kind against the reference in float64, on random shapes, with guards round every buffer.
package kerneltest

import (
	"math/rand/v2"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/ref"
)

// Options of a run of the suite.
type Options struct {
	// Variants make sets that must give the same bits as the one under test: of another number of threads, or another set of its arithmetic.
	Variants []func() kernel.Set
	// Allocates says that launches may allocate, which the contract leaves to no set but the reference.
	Allocates bool
	// Seed is that of shapes and values; a failure names it.
	Seed uint64
	// Trials is the shapes that each kind is tried on, and each way to fuse on a quarter of that; 0: 32.
	Trials int
}

// inPlace are the arguments that may share memory: output, input.
var inPlace = map[kernel.Kind][][2]int{
	kernel.ReLU:     {{1, 0}},
	kernel.ReLUGrad: {{2, 0}},
	kernel.Add:      {{2, 0}, {2, 1}},
}

// Run holds set to the contract of package kernel.
func Run(t *testing.T, set kernel.Set, o Options) {
	oracle := ref.New()
	if o.Trials == 0 {
		o.Trials = 32
	}
	variants := make([]kernel.Set, len(o.Variants))
	for i, make := range o.Variants {
		variants[i] = make()
		defer variants[i].Close()
		if a, b := set.Arithmetic(), variants[i].Arithmetic(); a != b {
			t.Fatalf("variants of arithmetic %s and %s", a, b)
		}
	}
	for _, kind := range kernel.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			random, ok := ops[kind]
			if !ok {
				t.Fatalf("the suite has no shapes for %v", kind)
			}
			for trial := range o.Trials {
				r := rand.New(rand.NewPCG(o.Seed, uint64(kind)<<32|uint64(trial)))
				op := random(r)
				op.Kind = kind
				s := &subject{t, set, op, rounded(set.Traits(), op, values(r, op))}
				s.check(oracle, variants, r)
				if t.Failed() {
					t.Fatalf("%+v, seed %d, trial %d", op, o.Seed, trial)
				}
			}
		})
	}
	if set.Traits().Fuses {
		t.Run("fused", func(t *testing.T) { fusing(t, set, variants, o) })
	}
	t.Run("noises", func(t *testing.T) { noises(t, set) })
	t.Run("refused", func(t *testing.T) { refuses(t, set) })
	if !o.Allocates {
		t.Run("allocations", func(t *testing.T) { allocations(t, set) })
	}
	t.Run("memory", func(t *testing.T) { memory(t, set) })
	t.Run("recordings", func(t *testing.T) { recordings(t, set, o.Allocates) })
}

// subject is an op with its arguments' contents, on a set.
type subject struct {
	t   *testing.T
	set kernel.Set
	op  kernel.Op
	in  []data
}

func (s *subject) check(oracle kernel.Set, variants []kernel.Set, r *rand.Rand) {
	s.t.Helper()
	l := newLauncher(s.t, s.set, s.op)
	got := l.run(s.in, nil)
	want := s.wanted(oracle, s.in)
	allowed := s.allowed(oracle, want)
	s.near("", got, want, allowed)
	for _, pair := range inPlace[s.op.Kind] {
		alias := map[int]int{pair[0]: pair[1]}
		if shared := l.run(s.in, alias); !equal(got[pair[0]:pair[0]+1], shared[pair[0]:pair[0]+1]) {
			s.t.Errorf("%v: other bits in place", s.op)
		}
	}
	s.groupsAlone(got)
	s.sameOn(variants, got)
	if r.IntN(3) == 0 {
		s.notANumber(oracle, r, allowed)
	}
	s.in = rounded(s.set.Traits(), s.op, wild(r, s.op, s.in))
	s.sameOn(variants, newLauncher(s.t, s.set, s.op).once(s.in, nil))
}

// wanted is what the reference makes of in. Kinds that only choose and copy are exact: a set of half precision rounds what they give, once.
func (s *subject) wanted(oracle kernel.Set, in []data) []data {
	want := newLauncher(s.t, oracle, s.op).once(in, nil)
	if tolerance(s.op) == 0 {
		want = rounded(s.set.Traits(), s.op, want)
	}
	return want
}

// groupsAlone runs each group by itself: the same bits.
func (s *subject) groupsAlone(together []data) {
	s.t.Helper()
	if s.op.Groups == 1 {
		return
	}
	alone := s.op
	alone.Groups = 1
	all, one := s.op.Args(), alone.Args()
	l := newLauncher(s.t, s.set, alone)
	for g := range s.op.Groups {
		in, want := make([]data, len(all)), make([]data, len(all))
		for i := range all {
			in[i], want[i] = groupOf(all[i], one[i], s.in[i], g), groupOf(all[i], one[i], together[i], g)
		}
		got := l.once(in, nil)
		for i, a := range one {
			if a.Access != kernel.In && !equal(got[i:i+1], want[i:i+1]) {
				s.t.Errorf("%v: %s of group %d has other bits when it is alone", s.op, a.Name, g)
			}
		}
	}
}

// groupOf cuts group g's share out of an argument: its part, its images, or all of it where the groups share it.
func groupOf(all, one kernel.Arg, d data, g int) data {
	from, n := 0, one.Len()
	switch {
	case all.Parts > 1:
		from = g * all.Stride
	case all.Len() > n:
		from = g * n
	}
	switch all.Type {
	case kernel.Byte:
		return data{bytes: d.bytes[from : from+n]}
	case kernel.Int:
		return data{ints: d.ints[from : from+n]}
	}
	return data{real: d.real[from : from+n]}
}

// sameOn holds that other sets of the arithmetic give the same bits.
func (s *subject) sameOn(variants []kernel.Set, want []data) {
	s.t.Helper()
	for _, other := range variants {
		if got := newLauncher(s.t, other, s.op).once(s.in, nil); !equal(got, want) {
			s.t.Errorf("%v: another %s of arithmetic %s gave other bits", s.op, other.Name(), other.Arithmetic())
		}
	}
}
