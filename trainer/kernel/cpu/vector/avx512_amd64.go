//go:build amd64 && !purego

package vector

var avx512 = Set{
	Name:         "avx512",
	Multiply:     multiplyAVX512,
	Accumulate:   accumulateAVX512,
	Convolve:     convolveAVX512,
	ConvolveGrad: convolveGradAVX512,
	Transpose:    squares(16, transposeAVX512),
	InputTiles:   inputTilesAVX512,
	GradTiles:    gradTilesAVX512,
	OutputTiles:  outputTilesAVX512,
	WeightTiles: func(w *float32, lane, lanes int, flip bool, step int, u *float32, position, next, n int) {
		if lanes < Lanes {
			generic.WeightTiles(w, lane, lanes, flip, step, u, position, next, n)
			return
		}
		weightTilesAVX512(w, lane, flip, step, u, position, next, n)
	},
	WeightGradTiles:  weightGradTilesAVX512,
	Norm:             normAVX512,
	NormReLU:         normReLUAVX512,
	NormAddReLU:      normAddReLUAVX512,
	NormGrad:         normGradAVX512,
	Scale:            scaleAVX512,
	Sums:             sumsAVX512,
	GradSums:         gradSumsAVX512,
	NormReLUGradSums: normReLUGradSumsAVX512,
	AddReLUGradSums:  addReLUGradSumsAVX512,
	Add:              addAVX512,
	ReLU:             reluAVX512,
	ReLUGrad:         reluGradAVX512,
	SGD:              sgdAVX512,
	Average:          averageAVX512,
}

//go:noescape
func multiplyAVX512(p *Product, v, u, m *float32, ahead *uintptr, write *float32)

//go:noescape
func accumulateAVX512(p *Product, v, q, s *float32, ahead *uintptr, first bool)

//go:noescape
func convolveAVX512(p *Window, x *float32, from, offsets *int, u, y *float32, to *int)

//go:noescape
func convolveGradAVX512(p *Window, x *float32, from, offsets *int, y, dw *float32, to *int)

//go:noescape
func transposeAVX512(dst *float32, to *int, src *float32, from *int, n int)

//go:noescape
func inputTilesAVX512(x *float32, row int, v *float32, position, tile, n int)

//go:noescape
func gradTilesAVX512(y *float32, row int, q *float32, position, tile, n int)

//go:noescape
func outputTilesAVX512(m *float32, position, tile int, y *float32, row, n int)

//go:noescape
func weightTilesAVX512(w *float32, lane int, flip bool, step int, u *float32, position, next, n int)

//go:noescape
func weightGradTilesAVX512(s *float32, position int, dw *float32, tap, n int)

//go:noescape
func normAVX512(y, x, scale, shift *float32, n int)

//go:noescape
func normReLUAVX512(y, x, scale, shift *float32, n int)

//go:noescape
func normAddReLUAVX512(y, z, x, r, scale, shift *float32, n int)

//go:noescape
func normGradAVX512(dx, dy, x, scale, slope, shift *float32, n int)

//go:noescape
func scaleAVX512(y, x, scale *float32, n int)

//go:noescape
func sumsAVX512(x, shift, acc *float32, n int)

//go:noescape
func gradSumsAVX512(dy, x, mean, acc *float32, n int)

//go:noescape
func normReLUGradSumsAVX512(grad, dy, x, scale, shift, mean, acc *float32, n int)

//go:noescape
func addReLUGradSumsAVX512(grad, dy, r, z, x, mean, acc *float32, n int)

//go:noescape
func addAVX512(y, a, b *float32, n int)

//go:noescape
func reluAVX512(y, x *float32, n int)

//go:noescape
func reluGradAVX512(dx, dy, y *float32, n int)

//go:noescape
func sgdAVX512(theta, v, grad *float32, n int, momentum, decay, lr float32)

//go:noescape
func averageAVX512(r, s *float32, n int, keep, take, scale float32)
