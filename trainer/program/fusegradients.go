package program

import (
	"slices"

	"github.com/dither-ml/dither/trainer/kernel"
)

// fuseGradients lets a convolution make both its gradients in one sweep, so that their common dy is read once:
//
//	dw = ConvWeightGrad(x, dy)
//	dx = ConvDataGrad(dy, w)
//
// becomes
//
//	dx, dw = ConvDataGrad+WeightGrad(dy, w, x)
//
// with whatever is fused to them already, as long as dy becomes the same.
func fuseGradients(f *flow) {
	for weight := range f.of(kernel.ConvWeightGrad) {
		dy, x := weight.gradientInputs()
		i := slices.IndexFunc(f.readers[dy[0].root()], func(s *Step) bool {
			o, p := s.Op, weight.Op
			return s.Kind == Compute && o.Kind == kernel.ConvDataGrad && o.Before == p.Before && o.BeforeStride == p.BeforeStride && o.Count == p.Count &&
				o.Beside == kernel.Alone && o.Repeat <= 1 && slices.EqualFunc(s.Args[:len(dy)], dy, same)
		})
		if i < 0 {
			continue
		}
		data := f.readers[dy[0].root()][i]
		if slices.ContainsFunc(data.inputs(), func(v *Value) bool { m := f.maker[v]; return m != nil && f.at[m] > f.at[weight] }) {
			continue
		}
		f.edit(data, func() {
			o := &data.Op
			o.Beside, o.Input, o.GroupStride, o.Epsilon = kernel.WeightGrad, weight.Op.Input, weight.Op.GroupStride, max(o.Epsilon, weight.Op.Epsilon)
			data.extend(x, weight.outputs())
		})
		f.raise(data, weight)
	}
}

// gradientInputs are the arguments of a weight gradient that stand for dy, and for x.
func (s *Step) gradientInputs() (dy, x []*Value) {
	n := map[kernel.Fusion]int{kernel.Alone: 1, kernel.NormReLU: 5}[s.Op.Input]
	return s.inputs()[n:], s.inputs()[:n]
}

// same says that two values are one, or the same piece of one.
func same(a, b *Value) bool {
	return a == b || a.of != nil && a.of == b.of && a.from == b.from && a.Len == b.Len
}
