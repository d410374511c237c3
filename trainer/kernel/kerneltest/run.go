// Package kerneltest is the one suite that every kernel set passes: each Kind against the reference in float64, on random shapes, with guards round every buffer.
package kerneltest

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
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
}

// trials is the shapes that each kind is tried on.
const trials = 24

// inPlace are the arguments that may share memory: output, input.
var inPlace = map[kernel.Kind][][2]int{
	kernel.ReLU:     {{1, 0}},
	kernel.ReLUGrad: {{2, 0}},
	kernel.Add:      {{2, 0}, {2, 1}},
}

// Run holds set to the contract of package kernel.
func Run(t *testing.T, set kernel.Set, o Options) {
	oracle := ref.New()
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
			for trial := range trials {
				r := rand.New(rand.NewPCG(o.Seed, uint64(kind)<<32|uint64(trial)))
				op := random(r)
				op.Kind = kind
				s := &subject{t, set, op, values(r, op)}
				s.check(oracle, r)
				for _, v := range variants {
					s.sameOn(v)
				}
				if t.Failed() {
					t.Fatalf("%+v, seed %d, trial %d", op, o.Seed, trial)
				}
			}
		})
	}
	t.Run("refused", func(t *testing.T) { refuses(t, set) })
	if !o.Allocates {
		t.Run("allocations", func(t *testing.T) { allocations(t, set) })
	}
	t.Run("memory", func(t *testing.T) { memory(t, set) })
}

// subject is an op with its arguments' contents, on a set.
type subject struct {
	t   *testing.T
	set kernel.Set
	op  kernel.Op
	in  []data
}

func (s *subject) check(oracle kernel.Set, r *rand.Rand) {
	s.t.Helper()
	l := newLauncher(s.t, s.set, s.op)
	got := l.run(s.in, nil)
	s.near("", got, newLauncher(s.t, oracle, s.op).once(s.in, nil))
	for _, pair := range inPlace[s.op.Kind] {
		alias := map[int]int{pair[0]: pair[1]}
		if shared := l.run(s.in, alias); !equal(got[pair[0]:pair[0]+1], shared[pair[0]:pair[0]+1]) {
			s.t.Errorf("%v: other bits in place", s.op)
		}
	}
	s.groupsAlone(got)
	if r.IntN(3) == 0 {
		s.notANumber(oracle, r)
	}
}

// near compares outputs with the reference's. An exact kind's may not differ at all.
func (s *subject) near(where string, got, want []data) {
	s.t.Helper()
	limit := tolerance(s.op)
	for i, a := range s.op.Args() {
		if a.Access == kernel.In {
			continue
		}
		var difference, size float64
		for j, w := range want[i].real {
			g := got[i].real[j]
			if (g != g) != (w != w) {
				s.t.Errorf("%v%s: %s[%d] is %v, want %v", s.op, where, a.Name, j, g, w)
				return
			}
			if w == w && g != w {
				difference, size = difference+(g-w)*(g-w), size+w*w
			} else if w == w && w != canary {
				size += w * w
			}
		}
		if off := math.Sqrt(difference / max(size, 1e-30)); off > limit || math.IsNaN(off) {
			s.t.Errorf("%v%s: %s differs from the reference by %.2g of its norm, more than %.2g", s.op, where, a.Name, off, limit)
		}
	}
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

// notANumber puts a NaN into each input in turn: it must come out where the reference has it.
func (s *subject) notANumber(oracle kernel.Set, r *rand.Rand) {
	s.t.Helper()
	for i, a := range s.op.Args() {
		if a.Type != kernel.Real || a.Access == kernel.Out {
			continue
		}
		in := append([]data(nil), s.in...)
		in[i].real = append([]float64(nil), in[i].real...)
		in[i].real[r.IntN(a.Parts)*a.Stride+r.IntN(a.Part)] = math.NaN()
		got, want := newLauncher(s.t, s.set, s.op).once(in, nil), newLauncher(s.t, oracle, s.op).once(in, nil)
		if s.op.R > 1 { // the border is zeros, and whether zero times NaN is added or left out is the set's affair
			spread(got, want)
		}
		s.near(" with a NaN in "+a.Name, got, want)
	}
}

// spread takes over what is NaN in got alone.
func spread(got, want []data) {
	for i := range want {
		for j, v := range got[i].real {
			if v != v {
				want[i].real[j] = v
			}
		}
	}
}

func (s *subject) sameOn(other kernel.Set) {
	s.t.Helper()
	got, want := newLauncher(s.t, other, s.op).once(s.in, nil), newLauncher(s.t, s.set, s.op).once(s.in, nil)
	if !equal(got, want) {
		s.t.Errorf("%v: another %s of arithmetic %s gave other bits", s.op, other.Name(), other.Arithmetic())
	}
}

func refuses(t *testing.T, set kernel.Set) {
	for _, op := range refused {
		_, err := set.Prepare(op)
		if !errors.Is(err, kernel.ErrUnsupported) || !strings.Contains(fmt.Sprint(err), op.String()) {
			t.Errorf("Prepare of %+v gave %v, want an error that names it and wraps ErrUnsupported", op, err)
		}
	}
}
