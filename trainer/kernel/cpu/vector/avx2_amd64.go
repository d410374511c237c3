//go:build amd64 && !purego

package vector

var avx2 = Set{
	Name:         "avx2",
	Multiply:     multiplyAVX2,
	Accumulate:   accumulateAVX2,
	Convolve:     convolveAVX2,
	ConvolveGrad: convolveGradAVX2,
	Transpose:    squares(8, transposeAVX2),
	InputTiles:   inputTilesAVX2,
	GradTiles:    gradTilesAVX2,
	OutputTiles:  outputTilesAVX2,
	WeightTiles: func(w *float32, lane, lanes int, flip bool, step int, u *float32, position, next, n int) {
		if lanes < Lanes {
			generic.WeightTiles(w, lane, lanes, flip, step, u, position, next, n)
			return
		}
		weightTilesAVX2(w, lane, flip, step, u, position, next, n)
	},
	WeightGradTiles:  weightGradTilesAVX2,
	Norm:             normAVX2,
	NormReLU:         normReLUAVX2,
	NormAddReLU:      normAddReLUAVX2,
	NormGrad:         normGradAVX2,
	Scale:            scaleAVX2,
	Sums:             sumsAVX2,
	GradSums:         gradSumsAVX2,
	NormReLUGradSums: normReLUGradSumsAVX2,
	AddReLUGradSums:  addReLUGradSumsAVX2,
	Add:              addAVX2,
	ReLU:             reluAVX2,
	ReLUGrad:         reluGradAVX2,
	SGD:              sgdAVX2,
	Average:          averageAVX2,
}

//go:noescape
func multiplyAVX2(p *Product, v, u, m *float32, ahead *uintptr, write *float32)

//go:noescape
func accumulateAVX2(p *Product, v, q, s *float32, ahead *uintptr, first bool)

//go:noescape
func convolveAVX2(p *Window, x *float32, from, offsets *int, u, y *float32, to *int)

//go:noescape
func convolveGradAVX2(p *Window, x *float32, from, offsets *int, y, dw *float32, to *int)

//go:noescape
func transposeAVX2(dst *float32, to *int, src *float32, from *int, n int)

//go:noescape
func inputTilesAVX2(x *float32, row int, v *float32, position, tile, n int)

//go:noescape
func gradTilesAVX2(y *float32, row int, q *float32, position, tile, n int)

//go:noescape
func outputTilesAVX2(m *float32, position, tile int, y *float32, row, n int)

//go:noescape
func weightTilesAVX2(w *float32, lane int, flip bool, step int, u *float32, position, next, n int)

//go:noescape
func weightGradTilesAVX2(s *float32, position int, dw *float32, tap, n int)

//go:noescape
func normAVX2(y, x, scale, shift *float32, n int)

//go:noescape
func normReLUAVX2(y, x, scale, shift *float32, n int)

//go:noescape
func normAddReLUAVX2(y, z, x, r, scale, shift *float32, n int)

//go:noescape
func normGradAVX2(dx, dy, x, scale, slope, shift *float32, n int)

//go:noescape
func scaleAVX2(y, x, scale *float32, n int)

//go:noescape
func sumsAVX2(x, shift, acc *float32, n int)

//go:noescape
func gradSumsAVX2(dy, x, mean, acc *float32, n int)

//go:noescape
func normReLUGradSumsAVX2(grad, dy, x, scale, shift, mean, acc *float32, n int)

//go:noescape
func addReLUGradSumsAVX2(grad, dy, r, z, x, mean, acc *float32, n int)

//go:noescape
func addAVX2(y, a, b *float32, n int)

//go:noescape
func reluAVX2(y, x *float32, n int)

//go:noescape
func reluGradAVX2(dx, dy, y *float32, n int)

//go:noescape
func sgdAVX2(theta, v, grad *float32, n int, momentum, decay, lr float32)

//go:noescape
func averageAVX2(r, s *float32, n int, keep, take, scale float32)
