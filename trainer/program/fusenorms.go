package program

import "github.com/dither-ml/dither/trainer/kernel"

// fuseNorms lets convolutions normalise and rectify as they read, where nobody else needs the result, which is then never stored:
//
//	n = NormForward(x, mean, variance, gamma, beta)
//	z = ReLU(n)
//	y = ConvForward(z, w)
//	dw = ConvWeightGrad(z, dy)
//
// becomes
//
//	y = ConvForward+NormReLU(x, mean, variance, gamma, beta, w)
//	dw = ConvWeightGrad+NormReLU(x, mean, variance, gamma, beta, dy)
//
// and ConvSquares likewise.
func fuseNorms(f *flow) {
	for relu := range f.of(kernel.ReLU) {
		z := relu.Args[1]
		norm := f.normOf(z)
		if norm == nil || !f.only(relu.Args[0], relu) || !z.passing() || !f.convolutionsAlone(z) {
			continue
		}
		for _, s := range append([]*Step{}, f.readers[z]...) {
			f.edit(s, func() {
				s.Op.Epsilon = norm.Op.Epsilon
				if s.Op.Kind == kernel.ConvForward {
					s.Op.Before, s.Op.BeforeStride = kernel.NormReLU, norm.Op.GroupStride
				} else {
					s.Op.Input = kernel.NormReLU
				}
				s.reads(z, norm.inputs()...)
			})
		}
		f.drop(relu)
		f.drop(norm)
	}
}

// convolutionsAlone says that v is read as the input of convolutions, and by nobody else.
func (f *flow) convolutionsAlone(v *Value) bool {
	for _, s := range f.readers[v] {
		switch s.Op.Kind {
		case kernel.ConvForward, kernel.ConvWeightGrad, kernel.ConvSquares:
			if s.Args[0] == v {
				continue
			}
		}
		return false
	}
	return true
}
