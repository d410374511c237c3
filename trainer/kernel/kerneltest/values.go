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
	if op.Kind == kernel.NormFinish { // a sum of squares is no less than the sum's square over the count
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
	case "y":
		if op.Kind == kernel.ReLUGrad { // what ReLU leaves
			return max(v, 0)
		}
		return 3 * v
	}
	return v
}

// tolerance is the norm of a difference over the norm, for float32 that rounds every operation: a chain of n random terms is off by sqrt(n) roundings or so.
// Kinds that only choose and copy are exact.
func tolerance(op kernel.Op) float64 {
	const rounding = 6e-8
	pixels := float64(max(op.N*op.H*op.W, op.N))
	var chain float64
	switch op.Kind {
	case kernel.ReLU, kernel.ReLUGrad, kernel.ShortcutForward, kernel.ShortcutGrad, kernel.Correct, kernel.OneHot, kernel.Zero:
		return 0
	case kernel.ConvForward:
		chain = float64(op.C * op.R * op.R)
	case kernel.ConvDataGrad:
		chain = float64(op.K * op.R * op.R)
	case kernel.ConvWeightGrad, kernel.ConvSquares, kernel.NormStats, kernel.NormSums, kernel.NormGradSums, kernel.NormSquares,
		kernel.LinearWeightGrad, kernel.LinearBiasGrad, kernel.LinearSquares, kernel.QuadraticForward, kernel.KDForward, kernel.CEForward:
		chain = pixels
	case kernel.PoolForward:
		chain = float64(op.H * op.W)
	case kernel.LinearForward:
		chain = float64(op.C)
	case kernel.LinearDataGrad:
		chain = float64(op.K)
	}
	return 4 * rounding * (1 + math.Sqrt(chain))
}
