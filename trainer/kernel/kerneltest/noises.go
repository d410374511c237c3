package kerneltest

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dither-ml/dither/noise"
	"github.com/dither-ml/dither/trainer/kernel"
)

// noises holds the kinds that draw to the bits of package noise, drawn at each iteration or once a run: a run's labels are the same wherever their noise comes from.
func noises(t *testing.T, set kernel.Set) {
	for trial, typed := range []string{"gaussian:sigma2=0", "gaussian:sigma2=1e-9", "gaussian:sigma2=0.7,refresh=once", "gaussian:sigma2=1e60",
		"symmetric:p=0", "symmetric:p=0.3", "symmetric:p=0.3,refresh=once", "symmetric:p=1"} {
		for _, classes := range []int{2, 4, 7, 10, 101, 1000} {
			r := rand.New(rand.NewPCG(uint64(trial), uint64(classes)))
			op := kernel.Op{Groups: between(r, 1, 3), N: between(r, 1, 9), K: classes, Seed: r.Uint64()}
			perturbs(t, set, typed, op, []uint32{1, math.MaxUint32, r.Uint32()}[r.IntN(3)], r)
		}
	}
}

// perturbs compares one launch with one answer of package noise.
func perturbs(t *testing.T, set kernel.Set, typed string, op kernel.Op, iteration uint32, r *rand.Rand) {
	t.Helper()
	spec, _, err := noise.Parse(typed)
	if err != nil {
		t.Fatal(err)
	}
	n, err := noise.New(spec, "")
	if err != nil {
		t.Fatal(err)
	}
	if op.Kind, op.Scale = kernel.GaussianNoise, math.Sqrt(spec.GetParameters()["sigma2"]); spec.GetKind() == noise.Symmetric {
		op.Kind, op.Scale = kernel.SymmetricNoise, spec.GetParameters()["p"]
	}
	step := noise.Iteration(spec, iteration)
	samples, words := make([]uint32, op.Groups*op.N), make([]int32, op.Groups*op.N)
	for i := range samples {
		samples[i] = []uint32{0, math.MaxUint32, r.Uint32()}[r.IntN(3)]
		words[i] = int32(samples[i])
	}
	logits, want := make([]float32, len(samples)*op.K), make([]float32, len(samples)*op.K)
	wide := make([]float64, len(logits))
	for i := range logits {
		logits[i] = float32(math.Ldexp(r.NormFloat64(), r.IntN(40)-20))
		wide[i] = float64(logits[i])
	}
	if err := n.Perturb(t.Context(), op.Seed, step, samples, logits, want); err != nil {
		t.Fatal(err)
	}
	got := launched(t, set, op, data{real: wide}, data{ints: words}, data{ints: []int32{int32(step)}})[0].real
	rounded := make([]float32, len(got)) // of a set that computes in float64
	for i, v := range got {
		rounded[i] = float32(v)
	}
	if !slices.EqualFunc(rounded, want, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
		i := 0
		for math.Float32bits(rounded[i]) == math.Float32bits(want[i]) {
			i++
		}
		t.Errorf("%s: %v, seed %d, step %d: %s gives sample %d, class %d %v, package noise %v", set.Name(), op, op.Seed, step, typed, samples[i/op.K], i%op.K, rounded[i], want[i])
	}
}
