package program

import (
	"slices"

	"github.com/dither-ml/dither/trainer/kernel"
)

// fuseResiduals lets the first convolution that reads a residual block's output z make it, as it reads:
//
//	n = NormForward(x, mean, variance, gamma, beta)
//	s = Add(n, r)
//	z = ReLU(s)
//	y = ConvForward(z, w)
//
// becomes
//
//	z, y = ConvForward+NormAddReLU(x, mean, variance, gamma, beta, r, w)
//
// z is stored too: the next block's residual path, the weight gradient and the mask read it.
func fuseResiduals(f *flow) {
	for relu := range f.of(kernel.ReLU) {
		z := relu.Args[1]
		add := f.made(relu.Args[0], kernel.Add)
		if add == nil || !f.only(relu.Args[0], relu) || len(f.readers[z]) == 0 {
			continue
		}
		conv := f.first(z)
		if conv.Op.Kind != kernel.ConvForward || conv.Op.Before != kernel.Alone {
			continue
		}
		for i, r := range []*Value{add.Args[1], add.Args[0]} {
			norm := f.made(add.Args[i], kernel.NormForward)
			if norm == nil || !f.only(add.Args[i], add) {
				continue
			}
			f.edit(conv, func() {
				o := &conv.Op
				o.Before, o.BeforeStride, o.Epsilon = kernel.NormAddReLU, norm.Op.GroupStride, norm.Op.Epsilon
				conv.Args = slices.Concat(norm.inputs(), []*Value{r}, conv.inputs()[1:], []*Value{z}, conv.outputs())
				conv.Outputs++
			})
			f.drop(norm)
			f.drop(add)
			f.drop(relu)
			break
		}
	}
}
