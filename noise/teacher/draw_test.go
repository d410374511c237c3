package teacher

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dither-ml/dither/noise"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// asked counts the samples that a noise is asked about.
type asked struct {
	noise.Noise
	samples int
}

func (n *asked) Perturb(ctx context.Context, seed uint64, k uint32, samples []uint32, logits, out []float32) error {
	n.samples += len(samples)
	return n.Noise.Perturb(ctx, seed, k, samples, logits, out)
}

// withNoise is c with the noise as it is typed.
func withNoise(t *testing.T, c Config, typed string) Config {
	t.Helper()
	spec, _, err := noise.Parse(typed)
	if err != nil {
		t.Fatal(err)
	}
	c.Run = proto.CloneOf(c.Run)
	c.Run.Spec.Noise = spec
	return c
}

// TestNoiseIsDrawnWhereTheLogitsAre: behind the forward pass by the kernels, on the host for what comes from the cache, in any mixture; the labels are those of package noise.
func TestNoiseIsDrawnWhereTheLogitsAre(t *testing.T) {
	c := config(t)
	soft := opened(t, withNoise(t, c, "none"))
	ids := everyone(40) // more than one forward pass
	for _, typed := range []string{"gaussian:sigma2=0", "gaussian:sigma2=0.5", "gaussian:sigma2=2,refresh=once", "symmetric:p=0", "symmetric:p=0.3", "symmetric:p=1", "symmetric:p=0.3,refresh=once"} {
		s := opened(t, withNoise(t, c, typed))
		host := &asked{Noise: s.noise}
		s.noise = host
		want := func(k uint32, ids []uint32) []float32 {
			labels := ask(t, soft, k, ids...)
			if err := host.Noise.Perturb(t.Context(), s.spec.GetSeed(), noise.Iteration(s.spec.GetNoise(), k), ids, labels, labels); err != nil {
				t.Fatal(err)
			}
			return labels
		}
		some := ids[3:11]
		for i, q := range []struct {
			ids  []uint32
			host int
		}{{some, 0}, {some, len(some)}, {ids, len(some)}, {ids, len(ids)}} {
			host.samples = 0
			sameLabels(t, typed, ask(t, s, 7, q.ids...), want(7, q.ids))
			if host.samples != q.host {
				t.Errorf("%s: question %d has the host draw for %d samples, want %d", typed, i, host.samples, q.host)
			}
		}
		sameLabels(t, typed, ask(t, s, 8, ids...), want(8, ids))
	}
}

func TestNoiseThatLeavesFloat32IsNamed(t *testing.T) {
	c := config(t)
	c.File, c.Run.Spec.Teacher.Sha256 = teacherFile(t, c.Data, func(v []float32) {
		for i := range v {
			if len(v) == c.Data.Classes { // the last bias
				v[i] = 3e38
			}
		}
	})
	s := opened(t, withNoise(t, c, "gaussian:sigma2=1e75"))
	for _, from := range []string{"the network", "the cache"} {
		_, err := answer(t.Context(), s, 3, everyone(40)...)
		if err == nil || !strings.Contains(ditherv1.Message(err), "take a smaller sigma2") {
			t.Errorf("from %s: the answer is %v", from, err)
		}
	}
}
