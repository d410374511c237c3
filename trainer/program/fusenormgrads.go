package program

import "github.com/dither-ml/dither/trainer/kernel"

// fuseNormGrads lets both gradients of a convolution take the gradient through the BatchNorm behind it as they read, so that the result is never stored:
//
//	d = NormDataGrad(dy, xn, mean, variance, gamma, dgamma, dbeta)
//	dw = ConvWeightGrad(x, d)
//	dx = ConvDataGrad(d, w)
//
// becomes
//
//	dw = ConvWeightGrad+NormGrad(x, dy, xn, mean, variance, gamma, dgamma, dbeta)
//	dx = ConvDataGrad+NormGrad(dy, xn, mean, variance, gamma, dgamma, dbeta, w)
//
// and NormEvalDataGrad and ConvSquares likewise.
func fuseNormGrads(f *flow) {
	for norm := range f.of(kernel.NormDataGrad, kernel.NormEvalDataGrad) {
		d := norm.outputs()[0]
		if !d.passing() || !f.gradientsAlone(d) {
			continue
		}
		for _, s := range append([]*Step{}, f.readers[d]...) {
			f.edit(s, func() {
				o := &s.Op
				o.Before, o.BeforeStride, o.Count, o.Epsilon = kernel.NormGrad, norm.Op.GroupStride, norm.Op.Count, norm.Op.Epsilon
				if norm.Op.Kind == kernel.NormEvalDataGrad {
					o.Before = kernel.NormEvalGrad
				}
				s.reads(d, norm.inputs()...)
			})
		}
		f.drop(norm)
	}
}

// gradientsAlone says that v is read as the gradient of convolutions' outputs, and by nobody else.
func (f *flow) gradientsAlone(v *Value) bool {
	for _, s := range f.readers[v] {
		at := 0
		switch s.Op.Kind {
		case kernel.ConvDataGrad:
		case kernel.ConvWeightGrad, kernel.ConvSquares:
			at = len(s.inputs()) - 1
		default:
			return false
		}
		if s.Args[at] != v {
			return false
		}
	}
	return true
}
