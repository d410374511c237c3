package kerneltest

import (
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/ref"
)

func TestSuitePassesAPretender(t *testing.T) {
	for name, half := range map[string]bool{"of float64": false, "of half precision": true} {
		t.Run(name, func(t *testing.T) {
			pretend := func() kernel.Set { return pretender{Set: ref.New(), t: t, half: half} }
			Run(t, pretend(), Options{Variants: []func() kernel.Set{pretend}, Allocates: true, Seed: 1, Trials: 4})
		})
	}
}

// A set that works apart is held to the same, however that is settled.
func TestSuitePassesWhoWorksApart(t *testing.T) {
	for _, eager := range Orders() {
		set := &Apart{Set: ref.New(), Eager: eager}
		memory(t, set)
		recordings(t, set, true)
	}
}

// outputs spoils each number that is written.
func outputs(spoil func(op kernel.Op, a kernel.Arg, v []float64)) spoiler {
	return func(op kernel.Op, args []kernel.Arg, out []data) {
		for i, a := range args {
			if a.Access != kernel.In {
				spoil(op, a, out[i].real)
			}
		}
	}
}

func replaced(from func(v float64) bool, to float64) spoiler {
	return outputs(func(_ kernel.Op, a kernel.Arg, v []float64) {
		for j, x := range v {
			if from(x) && j%a.Stride < a.Part {
				v[j] = to
			}
		}
	})
}

func nudge(v *float64) { *v = math.Nextafter(*v, math.Inf(1)) }

// mutants are sets that are wrong, each in one way, where the suite sees it, and what it says. The wrong one is the set under test, or its variant.
var mutants = map[string]struct {
	where, says string
	variant     bool
	spoil       func() spoiler
}{
	"is imprecise": {where: "ConvForward", says: "differs from the reference", spoil: func() spoiler {
		return outputs(func(_ kernel.Op, _ kernel.Arg, v []float64) { v[0] *= 1.001 })
	}},
	"leaves the channels beyond the last as they were": {where: "PoolGrad", says: "beyond its", spoil: func() spoiler {
		return outputs(func(op kernel.Op, a kernel.Arg, v []float64) {
			v[len(v)-1] += float64(op.Padded(a.Channels) - a.Channels)
		})
	}},
	"takes the gradient of another image": {where: "ReLUGrad", says: "differs from the reference", spoil: func() spoiler {
		return outputs(func(op kernel.Op, a kernel.Arg, v []float64) {
			if image := len(v) / (op.Groups * op.N); op.Repeat > 1 && op.N > op.Repeat {
				copy(v, v[op.Repeat*image:][:image])
			}
		})
	}},
	"loses NaN": {where: "ConvForward", says: "want NaN", spoil: func() spoiler {
		return replaced(func(v float64) bool { return v != v }, 0)
	}},
	"spreads NaN over all images": {where: "ConvForward", says: "is NaN, want", spoil: func() spoiler {
		return outputs(func(_ kernel.Op, _ kernel.Arg, v []float64) {
			if hasNaN(v) {
				copy(v, filled(len(v), math.NaN()))
			}
		})
	}},
	"counts groups": {where: "NormSums", says: "has other bits when it is alone", spoil: func() spoiler {
		return outputs(func(op kernel.Op, _ kernel.Arg, v []float64) {
			if op.Groups > 1 {
				nudge(&v[0])
			}
		})
	}},
	"remembers": {where: "Add", says: "a second launch gave other bits", spoil: func() spoiler {
		launches := 0
		return outputs(func(_ kernel.Op, _ kernel.Arg, v []float64) {
			if launches++; launches%2 == 0 {
				nudge(&v[0])
			}
		})
	}},
	"writes between groups": {where: "ConvWeightGrad", says: "between two groups' parts", spoil: func() spoiler {
		return outputs(func(_ kernel.Op, a kernel.Arg, v []float64) {
			if a.Parts > 1 && a.Stride > a.Part {
				v[a.Part] = 0
			}
		})
	}},
	"fuses in another order": {where: "fused/ConvDataGrad.NormGrad.AddReLUNormSums", says: "other bits than without fusing", spoil: func() spoiler {
		return outputs(func(op kernel.Op, a kernel.Arg, v []float64) {
			if op.After != kernel.Alone && a.Name == "dbeta" {
				nudge(&v[0])
			}
		})
	}},
	"rounds a noise the wrong way": {where: "noises", says: "package noise", spoil: func() spoiler {
		return outputs(func(op kernel.Op, _ kernel.Arg, v []float64) {
			if op.Kind == kernel.GaussianNoise {
				v[len(v)-1] = float64(math.Nextafter32(float32(v[len(v)-1]), 0))
			}
		})
	}},
	"flushes denormals": {where: "ConvForward", says: "gave other bits", variant: true, spoil: func() spoiler {
		return replaced(func(v float64) bool { return v != 0 && math.Abs(v) < 0x1p-126 }, 0)
	}},
	"loses the sign of zero": {where: "Add", says: "gave other bits", variant: true, spoil: func() spoiler {
		return replaced(func(v float64) bool { return v == 0 }, 0)
	}},
	"takes infinity for the greatest number": {where: "Add", says: "gave other bits", variant: true, spoil: func() spoiler {
		return replaced(func(v float64) bool { return math.IsInf(v, 1) }, math.MaxFloat32)
	}},
}

const mutantVariable = "KERNELTEST_MUTANT"

// A suite that passes everything is worth nothing: each mutant fails it, in a process of its own.
func TestSuiteFailsMutants(t *testing.T) {
	if name := os.Getenv(mutantVariable); name != "" {
		m, set, o := mutants[name], pretender{Set: ref.New(), t: t}, Options{Allocates: true, Seed: 1}
		wrong := pretender{Set: ref.New(), t: t, spoil: m.spoil()}
		if m.variant {
			o.Variants = []func() kernel.Set{func() kernel.Set { return wrong }}
		} else {
			set = wrong
		}
		Run(t, set, o)
		return
	}
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			c := exec.Command(os.Args[0], "-test.run=^TestSuiteFailsMutants$/^"+strings.ReplaceAll(m.where, "/", "$/^")+"$")
			c.Env = append(os.Environ(), mutantVariable+"="+name)
			if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), m.says) {
				t.Errorf("a set that %s gave %v, want a failure that says %q:\n%s", name, err, m.says, out)
			}
		})
	}
}
