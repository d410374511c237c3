package program

import (
	"slices"

	"github.com/dither-ml/dither/trainer/kernel"
)

// fuseMasks lets the gradient of a convolution's input go through the ReLU in front of it as it is written, with the sums, or the squares by image, that the BatchNorm
// in front of that needs:
//
//	dx = ConvDataGrad(dy, w)
//	g = ReLUGrad(dx, z)
//	dgamma, dbeta = NormGradSums(g, xn, mean, variance)
//
// becomes, z being relu(norm(xn)), which need not be kept then,
//
//	g, dgamma, dbeta = ConvDataGrad+ReLUNormSums(dy, w, xn, mean, variance, gamma, beta)
//
// and where r, the gradient along the residual path, is added to dx, the mask is that of z, the block's output:
//
//	g, dgamma, dbeta = ConvDataGrad+AddReLUNormSums(dy, w, r, z, xn, mean, variance)
func fuseMasks(f *flow) {
	for sums := range f.of(kernel.NormGradSums, kernel.NormSquares) {
		g := sums.Args[0]
		mask := f.made(g, kernel.ReLUGrad)
		if mask == nil || f.first(g) != sums {
			continue
		}
		dx, z := mask.Args[0], mask.Args[1]
		if !f.only(dx, mask) {
			continue
		}
		statistics := sums.Args[1:4] // xn, mean, variance
		if conv := f.made(dx, kernel.ConvDataGrad); conv != nil {
			if norm := f.normOf(z); norm != nil && slices.Equal(norm.Args[:3], statistics) {
				f.mask(conv, mask, sums, kernel.ReLUNormSums, norm.inputs()...)
			}
			continue
		}
		add := f.made(dx, kernel.Add)
		if add == nil {
			continue
		}
		for i, r := range []*Value{add.Args[1], add.Args[0]} {
			if conv := f.made(add.Args[i], kernel.ConvDataGrad); conv != nil && f.only(add.Args[i], add) {
				f.drop(add)
				f.mask(conv, mask, sums, kernel.AddReLUNormSums, append([]*Value{r, z}, statistics...)...)
				break
			}
		}
	}
}

// normOf is the norm in z = relu(norm(x)), else nil.
func (f *flow) normOf(z *Value) *Step {
	if relu := f.made(z, kernel.ReLU); relu != nil {
		return f.made(relu.Args[0], kernel.NormForward)
	}
	return nil
}

// mask lets conv take in a ReLU's gradient and the sums or squares that follow; inputs are what it needs more for that.
func (f *flow) mask(conv, relu, sums *Step, after kernel.Fusion, inputs ...*Value) {
	if sums.Op.Kind == kernel.NormSquares {
		after = map[kernel.Fusion]kernel.Fusion{kernel.ReLUNormSums: kernel.ReLUNormSquares, kernel.AddReLUNormSums: kernel.AddReLUNormSquares}[after]
	}
	f.edit(conv, func() {
		o := &conv.Op
		o.After, o.AfterStride, o.Epsilon, o.Repeat = after, sums.Op.GroupStride, sums.Op.Epsilon, relu.Op.Repeat
		conv.Args = append(conv.inputs(), relu.outputs()...)
		conv.extend(inputs, sums.outputs())
	})
	f.drop(relu)
	f.sink(conv, sums)
}
