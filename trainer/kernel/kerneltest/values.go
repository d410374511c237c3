package kerneltest

import (
	"math"
	"math/rand/v2"

	"github.com/dither-ml/dither/trainer/kernel"
)

// values are random contents of the op's arguments, as its callers would give: variances positive, labels in range.
func values(r *rand.Rand, op kernel.Op) []data {
	args := op.Args()
	in := make([]data, len(args))
	for i, a := range args {
		switch a.Type {
		case kernel.Byte:
			in[i].bytes = make([]uint8, a.Len())
			for j := range in[i].bytes {
				in[i].bytes[j] = uint8(r.Uint32())
			}
		case kernel.Int:
			in[i].ints = make([]int32, a.Len())
			for j := range in[i].ints {
				in[i].ints[j] = int32(integer(r, op, a.Name, j))
			}
		case kernel.Real:
			in[i].real = filled(a.Len(), canary)
			for p := range a.Parts {
				for j := range a.Part {
					in[i].real[p*a.Stride+j] = float64(float32(real(r, op, a.Name, j)))
				}
			}
		}
	}
	switch op.Kind {
	case kernel.NormStats, kernel.NormSums: // channels whose means are large beside their spread, and a shift that is near
		x, shift := in[0].real, in[1].real
		for ch := range op.C {
			mean := float64(float32(8 * r.NormFloat64()))
			shift[ch] = float64(float32(mean + 0.5*shift[ch]))
			for i := range x {
				if i/(op.H*op.W)%op.C == ch {
					x[i] = float64(float32(mean + x[i]))
				}
			}
		}
	case kernel.NormFinish: // a sum of squares is no less than the sum's square over the count
		sums, count := in[0].real, float64(op.Count)
		for ch := range op.C {
			sums[op.C+ch] = float64(float32(float64(sums[ch]*sums[ch])/count + float64(count*(0.1+r.Float64()))))
		}
	}
	return in
}

func integer(r *rand.Rand, op kernel.Op, name string, j int) int {
	switch {
	case name == "labels":
		return r.IntN(op.K)
	case name == "index":
		return r.IntN(op.C+op.C/8+1) - op.C/8 - 1 // some of nothing
	case name == "samples" || name == "step": // any word
		return int(r.Uint32())
	case j%3 == 2:
		return r.IntN(2)
	}
	return r.IntN(2*op.Pad + 1)
}

func real(r *rand.Rand, op kernel.Op, name string, j int) float64 {
	v := r.NormFloat64()
	switch name {
	case "variance", "std", "q", "lr":
		return 0.1 + math.Abs(v)
	case "x":
		return 0.5 + v
	case "f":
		return 3 * v
	case "sums":
		return v * float64(op.Count)
	case "z": // what ReLU leaves
		return max(v, 0)
	case "y":
		if op.Kind == kernel.ReLUGrad {
			return max(v, 0)
		}
		return 3 * v
	}
	return v
}

// wild puts what arithmetic treats apart among the values: zeros of both signs, denormals, numbers whose products are denormal, and, into some arguments, an infinity or a NaN.
func wild(r *rand.Rand, op kernel.Op, in []data) []data {
	out := append([]data(nil), in...)
	for i, a := range op.Args() {
		if a.Type != kernel.Real {
			continue
		}
		v := append([]float64(nil), in[i].real...)
		small := r.IntN(4) == 0
		for p := range a.Parts {
			part := v[p*a.Stride : p*a.Stride+a.Part]
			for j, x := range part {
				switch n := r.IntN(32); {
				case n < 2:
					part[j] = math.Copysign(0, x)
				case n < 4:
					part[j] = math.Copysign(float64(math.Float32frombits(r.Uint32N(1<<23))), x)
				case small:
					part[j] = float64(float32(x * 0x1p-70))
				}
			}
			if r.IntN(4) == 0 {
				part[r.IntN(len(part))] = []float64{math.Inf(1), math.Inf(-1), math.NaN()}[r.IntN(3)]
			}
		}
		out[i].real = v
	}
	return out
}
