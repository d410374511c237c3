package kerneltest

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
)

// fusions are all ways to fuse something to a convolution.
func fusions() (ops []kernel.Op) {
	for _, kind := range kernel.Kinds() {
		or := func(fs []kernel.Fusion) []kernel.Fusion { return append([]kernel.Fusion{kernel.Alone}, fs...) }
		inputs, befores, afters, besides := kernel.Fusions(kind)
		for _, input := range or(inputs) {
			for _, before := range or(befores) {
				for _, after := range or(afters) {
					for _, beside := range or(besides) {
						op := kernel.Op{Kind: kind, Input: input, Before: before, After: after, Beside: beside}
						if alone := op == (kernel.Op{Kind: kind}); !alone && (input == kernel.Alone || beside != kernel.Alone || len(besides) == 0) {
							ops = append(ops, op)
						}
					}
				}
			}
		}
	}
	return ops
}

// fused is a random convolution with the kind and the fusions of what.
func fused(r *rand.Rand, what kernel.Op) kernel.Op {
	o := ops[what.Kind](r)
	o.Kind, o.Input, o.Before, o.After, o.Beside, o.Epsilon = what.Kind, what.Input, what.Before, what.After, what.Beside, 1e-5
	if o.Beside == kernel.WeightGrad {
		o.GroupStride = stride(r, o.K*o.C*o.R*o.R)
	}
	switch o.After {
	case kernel.Stats:
		o.N = max(o.N, 2)
		o.RecordStride = stride(r, 2*o.K)
	case kernel.ReLUNormSums, kernel.AddReLUNormSums:
		o.AfterStride = stride(r, o.C)
	case kernel.ReLUNormSquares, kernel.AddReLUNormSquares:
		if o.Before != kernel.NormGrad && o.Beside == kernel.Alone {
			o = repeated(r, o)
		}
	}
	switch o.Before {
	case kernel.NormReLU, kernel.NormAddReLU:
		o.BeforeStride = -r.IntN(2)
	case kernel.NormGrad:
		o.Repeat = 0
		if o.BeforeStride, o.Count = shared(r, o.K), o.N*o.OutH()*o.OutW(); o.BeforeStride == -1 {
			o.Count *= o.Groups
		}
	}
	return o
}

// fusing holds that what a set fuses has the very bits of what it fuses, each by itself.
func fusing(t *testing.T, set kernel.Set, variants []kernel.Set, o Options) {
	for i, what := range fusions() {
		name, _, _ := strings.Cut(what.String(), " ")
		t.Run(name, func(t *testing.T) {
			for trial := range max(o.Trials/4, 1) {
				r := rand.New(rand.NewPCG(o.Seed, 1<<48|uint64(i)<<32|uint64(trial)))
				op := fused(r, what)
				s := &subject{t, set, op, rounded(set.Traits(), op, values(r, op))}
				got := newLauncher(t, set, op).run(s.in, nil)
				s.asUnfused(got)
				s.groupsAlone(got)
				s.sameOn(variants, got)
				s.in = rounded(set.Traits(), op, wild(r, op, s.in))
				got = newLauncher(t, set, op).once(s.in, nil)
				s.asUnfused(got)
				s.sameOn(variants, got)
				if t.Failed() {
					t.Fatalf("%+v, seed %d, trial %d", op, o.Seed, trial)
				}
			}
		})
	}
}

func (s *subject) asUnfused(got []data) {
	s.t.Helper()
	want := unfused(s.t, s.set, s.op, s.in)
	for i, a := range s.op.Args() {
		if !equal(got[i:i+1], want[i:i+1]) {
			s.t.Errorf("%v: %s has other bits than without fusing", s.op, a.Name)
		}
	}
}
