package program

import (
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
)

// The logits are those of the network without noise, and the noisy ones what the kernel makes of them, whatever else is in the batch.
func TestNoiseIsDrawnBehindTheLogits(t *testing.T) {
	const most, step = 5, 0xfffffff0
	mean, std := normalised(small.Channels)
	set := openCPU(t, 1)
	in, samples := makeSamples(most, small.Shape, 2), []uint32{7, 0, 1 << 31, 0xffffffff, 7}
	plain, err := NewInference(set, small, most, mean, std, pad)
	if err != nil {
		t.Fatal(err)
	}
	loadStart(t, plain.Parameters(), plain.Load)
	want := map[string][]float32{"logits": make([]float32, most*small.Classes), "noisy": make([]float32, most*small.Classes)}
	if err := plain.Logits(in.pixels, in.geometry, most, want["logits"]); err != nil {
		t.Fatal(err)
	}
	for _, noise := range []Noise{{kernel.GaussianNoise, 0.7, 1 << 40}, {kernel.SymmetricNoise, 0.5, 3}} {
		k, err := set.Prepare(kernel.Op{Kind: noise.Kind, Groups: 1, N: most, K: small.Classes, Scale: noise.Scale, Seed: noise.Seed})
		if err != nil {
			t.Fatal(err)
		}
		words := make([]int32, most)
		for i, id := range samples {
			words[i] = int32(id)
		}
		at, s := step, set.NewStream()
		args := []kernel.Memory{given(t, set, s, want["logits"]), given(t, set, s, words), given(t, set, s, []int32{int32(at)}), given(t, set, s, want["noisy"])}
		k.Launch(s, args)
		s.Read(want["noisy"], args[3])

		net, err := NewNoisyInference(set, small, most, mean, std, pad, noise)
		if err != nil {
			t.Fatal(err)
		}
		loadStart(t, net.Parameters(), net.Load)
		run := func(from, to int) map[string][]float32 {
			v, n := in.part(from, to, small.Shape), (to-from)*small.Classes
			out := map[string][]float32{"logits": make([]float32, n), "noisy": make([]float32, n)}
			if err := net.NoisyLogits(v.pixels, v.geometry, samples[from:to], step, to-from, out["logits"], out["noisy"]); err != nil {
				t.Fatal(err)
			}
			return out
		}
		sameBits(t, "all at once", run(0, most), want)
		got := run(0, 2)
		for name, v := range run(2, most) {
			got[name] = append(got[name], v...)
		}
		sameBits(t, "two images, then three", got, want)
		if err := net.NoisyLogits(in.pixels, nil, samples[1:], step, most, got["logits"], got["noisy"]); err == nil {
			t.Error("fewer samples than images were taken")
		}
		net.Close()
	}
}

// given is memory that holds v: []float32 or []int32.
func given(t *testing.T, set kernel.Set, s kernel.Stream, v any) kernel.Memory {
	t.Helper()
	kind, n := kernel.Int, 0
	switch v := v.(type) {
	case []float32:
		kind, n = kernel.Real, len(v)
	case []int32:
		n = len(v)
	}
	m, err := set.Alloc(kind, n)
	if err != nil {
		t.Fatal(err)
	}
	s.Write(m, v)
	return m
}
