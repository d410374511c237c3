package cpu

import (
	"math"

	"github.com/dither-ml/dither/trainer/kernel"
)

// reader gives a convolution its source: an activation, as it is or changed on the way (Op.Input, Op.Before).
type reader struct {
	*prepared
	activation
	kind         kernel.Fusion
	first        int // its first argument
	z            int // the argument that the changed activation is written to as well; -1: none
	repeat       int // images that read one of the activation's
	coefficients int // place in the workspace: per group [3][padded]
}

// newReader takes the arguments from `first` on, and says which one follows them.
func (k *prepared) newReader(kind kernel.Fusion, a activation, first, repeat int) (*reader, int) {
	r := &reader{prepared: k, activation: a, kind: kind, first: first, z: -1, repeat: repeat}
	taken := map[kernel.Fusion]int{kernel.Alone: 1, kernel.NormReLU: 5, kernel.NormAddReLU: 6, kernel.NormGrad: 7, kernel.NormEvalGrad: 3}[kind]
	if kind != kernel.Alone {
		r.coefficients = k.reserve(k.Groups * 3 * a.padded())
		k.add(k.Groups, k.Groups*a.padded(), func(_, g int) { r.prepare(g) })
	}
	return r, first + taken
}

// coefficient is the i-th of group g: [padded].
func (r *reader) coefficient(g, i int) []float32 {
	return r.workspace(r.coefficients+(3*g+i)*r.padded(), r.padded())
}

// prepare computes the coefficients of a group; those of channels that are not there are 0, so that they stay 0.
func (r *reader) prepare(g int) {
	a, b, c := r.coefficient(g, 0), r.coefficient(g, 1), r.coefficient(g, 2)
	clear(a)
	clear(b)
	clear(c)
	part := func(i int) []float32 { return r.Part(r.first+i, g) }
	switch r.kind {
	case kernel.NormReLU, kernel.NormAddReLU:
		r.affine(part(1), part(2), part(3), part(4), a, b)
	case kernel.NormGrad:
		r.gradientAffine(part(2), part(3), part(4), part(5), part(6), a, b, c)
	case kernel.NormEvalGrad:
		r.scale(part(1), part(2), a)
	}
}

// scale is gamma/sqrt(variance + Epsilon).
func (k *prepared) scale(variance, gamma, scale []float32) {
	for ch, v := range variance {
		scale[ch] = float32(float64(gamma[ch]) * k.rstd(v))
	}
}

// rstd is 1/sqrt(variance + Epsilon).
func (k *prepared) rstd(variance float32) float64 { return 1 / math.Sqrt(float64(variance)+k.Epsilon) }

// affine gives the normalisation as x*scale + shift.
func (k *prepared) affine(mean, variance, gamma, beta, scale, shift []float32) {
	k.scale(variance, gamma, scale)
	for ch, m := range mean {
		shift[ch] = float32(float64(beta[ch]) - float64(float64(m)*float64(scale[ch])))
	}
}

// gradientAffine gives dx as dy*scale + (x*slope + shift).
func (k *prepared) gradientAffine(mean, variance, gamma, dgamma, dbeta, scale, slope, shift []float32) {
	k.scale(variance, gamma, scale)
	for ch, m := range mean {
		s := float64(scale[ch]) / float64(k.Count)
		slope[ch] = float32(-float64(s*k.rstd(variance[ch])) * float64(dgamma[ch]))
		shift[ch] = float32(-float64(s*float64(dbeta[ch])) - float64(float64(slope[ch])*float64(m)))
	}
}

// plain says whether the source can be read where it lies.
func (r *reader) plain() bool { return r.kind == kernel.Alone }

// at is row y of a block of image n of argument i.
func (r *reader) at(i, n, block, y int) *float32 {
	return &r.Real(i)[n/r.repeat*r.image()+block*r.plane()+y*r.row()]
}

// ahead lets l look ahead at what rows reads from row y of image n on.
func (r *reader) ahead(l *lookahead, n, y int) {
	at := n/r.repeat*r.image() + y*r.row()
	l.add(r.Real(r.first), at)
	switch r.kind {
	case kernel.NormAddReLU:
		l.add(r.Real(r.first+5), at)
	case kernel.NormGrad:
		l.add(r.Real(r.first+1), at)
	}
}

// rows writes the rows [from, to) of a block of image n, of group g, to dst, pitch elements apart.
func (r *reader) rows(dst []float32, pitch, g, n, block, from, to int) {
	v, w := r.v, r.w
	if r.plain() {
		source := r.Real(r.first)[n/r.repeat*r.image()+block*r.plane():]
		for y := from; y < to; y++ {
			copy(dst[(y-from)*pitch:][:r.row()], source[y*r.row():])
		}
		return
	}
	a, b, c := &r.coefficient(g, 0)[block*lanes], &r.coefficient(g, 1)[block*lanes], &r.coefficient(g, 2)[block*lanes]
	for y := from; y < to; y++ {
		out, x := &dst[(y-from)*pitch], r.at(r.first, n, block, y)
		switch r.kind {
		case kernel.NormReLU:
			v.NormReLU(out, x, a, b, w)
		case kernel.NormAddReLU:
			v.NormAddReLU(out, r.at(r.z, n, block, y), x, r.at(r.first+5, n, block, y), a, b, w)
		case kernel.NormGrad:
			v.NormGrad(out, x, r.at(r.first+1, n, block, y), a, b, c, w)
		case kernel.NormEvalGrad:
			v.Scale(out, x, a, w)
		}
	}
}
