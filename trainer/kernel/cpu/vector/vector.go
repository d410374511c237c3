// Package vector is what the cpu kernels are made of: small products, Winograd transforms and passes over rows, on vectors of 16 float32 (one pixel's
// block of 16 channels). Every primitive is there in plain Go, and for AVX2 and AVX-512 in generated assembly, with the same bits: the formulas below, with
// their fused multiply-adds and their order, are the arithmetic. fma(a, b, c) is a*b + c rounded once; every other operation is rounded by itself. Denormals are
// kept; NaN is NaN whatever its payload and sign.
//
// Pointers are to the first of as many elements as the comment says; nothing is checked here, so the caller answers for bounds (the tests of the callers put guards
// round every buffer). Strides and counts are in elements unless it says otherwise. Memory need not be aligned, but is fastest at multiples of 64 bytes.
package vector

// Lanes is the channels of a block, side by side in memory.
const Lanes = 16

// Product is the shape of a Multiply or an Accumulate: Positions independent products.
type Product struct {
	Positions int
	Rows      int // of the result; a multiple of 8 (Multiply) or of 16 (Accumulate)
	Depth     int // terms of a chain, at least 1
	Cols      int // of the result; a multiple of 16

	LeftPosition  int // distance between the positions' left factors
	LeftRow       int // distance between rows of a left factor
	RightPosition int // distance between the positions' right factors, [Depth][Cols] dense
	OutPosition   int // distance between the positions' results, [Rows][Cols] dense

	// Each position fetches so many cache lines ahead of time: ReadLines from its own address in `ahead`, and WriteLines from `write` on, one position's behind the other's.
	// Fetching never faults and changes no bit. With no ReadLines, ahead may be nil.
	ReadLines, WriteLines int
}

// Window is the shape of a Convolve or a ConvolveGrad: pixels of y, each of which meets the same window of x. Both find their pixels by lists: pixel t begins at from[t] in x and at to[t] in y,
// and the window's i-th piece offsets[i] behind the former.
type Window struct {
	Pixels int // of y; a multiple of 8 for Convolve, where a pixel may be given several times in a row
	Pieces int // of the window
	Depth  int // terms of a piece, side by side in x
	Cols   int // channels of y; a multiple of 16
	Block  int // distance in y between a pixel's blocks of 16 channels
	Piece  int // distance in ConvolveGrad's result between pieces
}

// Set is the primitives of one instruction set.
type Set struct {
	Name string // "generic", "avx2" or "avx512"

	// Multiply: m[p][t][j] = chain over k = 0..Depth-1 of s = fma(v[p][t][k], u[p][k][j], s) from s = +0. v has Rows rows of Depth.
	Multiply func(p *Product, v, u, m *float32, ahead *uintptr, write *float32)

	// Accumulate: s[p][i][j] = chain over t = 0..Depth-1 of s = fma(v[p][t][i], q[p][t][j], s), from +0 if first, else from s as it is. v has Depth rows of Rows
	// (LeftRow apart).
	Accumulate func(p *Product, v, q, s *float32, ahead *uintptr, first bool)

	// Convolve: y[to[t] + j/16*Block + j%16] = chain over i = 0..Pieces-1, then k = 0..Depth-1 of s = fma(x[from[t]+offsets[i]+k], u[i*Depth+k][j], s) from s = +0. u has Cols columns.
	Convolve func(p *Window, x *float32, from, offsets *int, u, y *float32, to *int)

	// ConvolveGrad: dw[i*Piece + k*Cols + j] goes on with its chain over t = 0..Pixels-1 of s = fma(x[from[t]+offsets[i]+k], y[to[t] + j/16*Block + j%16], s).
	ConvolveGrad func(p *Window, x *float32, from, offsets *int, y, dw *float32, to *int)

	// Transpose: dst[to[j]+i] = src[from[i]+j] for i < rows, j < cols. Fastest at multiples of 16.
	Transpose func(dst *float32, to *int, src *float32, from *int, rows, cols int)

	// The Winograd transforms of F(4x4, 3x3) (Lavin and Gray 2016) with the points 0, a, -a, b, -b, infinity for a = 3/4, b = 3/2: every entry of A and B is exact in float32, and
	// the error is half of that with the points 1 and 2. Each is a one-dimensional transform of six, four or three vectors, applied down the columns (over rows i for
	// each column j) and then along the rows of the result. Vectors are of Lanes; position (i, j) is i*6+j.

	// InputTiles: n tiles side by side of B^T d B. x is the top left of the first tile's 6x6 pixels, the next tile 4 pixels (64 elements) further, a pixel's row `row` elements below.
	// v gets tile's position p at v + p*position + tile*t. One dimension, of d0..d5 (see input in transform.go):
	//   e = fma(-b2, d2, d4), f = fma(-b2, d1, d3), g = fma(-a2, d2, d4), h = fma(-a2, d1, d3)      a2 = 9/16, b2 = 9/4
	//   o0 = fma(a2b2, d0, fma(-s, d2, d4))  o5 = fma(a2b2, d1, fma(-s, d3, d5))                    a2b2 = 81/64, s = a2+b2 = 45/16
	//   o1 = fma(a, f, e)  o2 = fma(-a, f, e)  o3 = fma(b, h, g)  o4 = fma(-b, h, g)
	InputTiles func(x *float32, row int, v *float32, position, tile, n int)

	// GradTiles: n tiles side by side of A y A^T (the weight gradient's other factor). y is the top left of the first tile's 4x4 pixels; else as InputTiles. One dimension, of y0..y3:
	//   e = fma(a2, y2, y0), f = fma(a2, y3, y1), g = fma(b2, y2, y0), h = fma(b2, y3, y1)
	//   o0 = y0  o1 = fma(a, f, e)  o2 = fma(-a, f, e)  o3 = fma(b, h, g)  o4 = fma(-b, h, g)  o5 = y3
	GradTiles func(y *float32, row int, q *float32, position, tile, n int)

	// OutputTiles: n tiles side by side of A^T m A into 4x4 pixels each at y, the next tile 4 pixels further. m's position p of tile t is at m + p*position + tile*t. One dimension, of m0..m5:
	//   p = m1+m2  q = m1-m2  r = m3+m4  s = m3-m4
	//   o0 = (m0+p)+r  o1 = a * fma(2, s, q)  o2 = a2 * fma(4, r, p)  o3 = fma(a3, fma(8, s, q), m5)   a3 = 27/64
	OutputTiles func(m *float32, position, tile int, y *float32, row, n int)

	// WeightTiles: G g G^T of 16 filters at once, n times. Lane l's filter [3][3] is at w + l*lane; if flip, it is read backwards (tap t at 8-t); the next time w is `step` and u `next` further. u gets position p
	// at u + p*position, Lanes elements. lanes (1 to 16) filters are read; the other lanes of u are +0. One dimension, of g0, g1, g2:
	//   o0 = c0*g0  o5 = g2
	//   e = fma(a2, g2, g0), f = a*g1:  o1 = ca*(e+f)  o2 = ca*(e-f)
	//   g = fma(b2, g2, g0), h = b*g1:  o3 = cb*(g+h)  o4 = cb*(g-h)      c0 = 64/81, ca = -128/243, cb = 32/243, each rounded to float32
	WeightTiles func(w *float32, lane, lanes int, flip bool, step int, u *float32, position, next, n int)

	// WeightGradTiles: G^T s G of n vectors side by side: position p of vector i is at s + p*position + i*16, tap t of the result at dw + t*tap + i*16. One dimension, of s0..s5:
	//   p = s1+s2  q = s1-s2  r = s3+s4  t = s3-s4
	//   o0 = fma(ca, p, fma(cb, r, c0*s0))  o1 = fma(caa, q, cbb*t)  o2 = fma(ca2, p, fma(cb2, r, s5))
	//   caa = ca*a, cbb = cb*b, ca2 = ca*a2, cb2 = cb*b2, as exact numbers, then rounded to float32
	WeightGradTiles func(s *float32, position int, dw *float32, tap, n int)

	// Passes over n pixels of one block of channels: [n][Lanes]. What is per channel has Lanes elements. An output may be one of the inputs. relu(v) is +0 where v < 0, else v as it is (NaN and -0 too).

	// Norm: y = fma(x, scale, shift).
	Norm func(y, x, scale, shift *float32, n int)
	// NormReLU: y = relu(fma(x, scale, shift)).
	NormReLU func(y, x, scale, shift *float32, n int)
	// NormAddReLU: y = z = relu(fma(x, scale, shift) + r).
	NormAddReLU func(y, z, x, r, scale, shift *float32, n int)
	// NormGrad: dx = fma(dy, scale, fma(x, slope, shift)).
	NormGrad func(dx, dy, x, scale, slope, shift *float32, n int)
	// Scale: y = x*scale.
	Scale func(y, x, scale *float32, n int)

	// Sums go on with accumulators of an image: acc is [2][4][Lanes]; pixel i (from 0) goes to accumulator i%4, so n is a multiple of 4 except at an image's end.

	// Sums: d = x-shift; acc[0] += d; acc[1] = fma(d, d, acc[1]).
	Sums func(x, shift, acc *float32, n int)
	// GradSums: acc[0] += dy; acc[1] = fma(dy, x-mean, acc[1]).
	GradSums func(dy, x, mean, acc *float32, n int)
	// NormReLUGradSums: g = dy where fma(x, scale, shift) > 0, else +0 (so where it is NaN); then GradSums of g, x.
	NormReLUGradSums func(g, dy, x, scale, shift, mean, acc *float32, n int)
	// AddReLUGradSums: g = dy + r where z > 0, else +0; then GradSums of g, x.
	AddReLUGradSums func(g, dy, r, z, x, mean, acc *float32, n int)

	// Passes over n numbers, any n. An output may be one of the inputs.

	// Add: y = a + b.
	Add func(y, a, b *float32, n int)
	// ReLU: y = relu(x).
	ReLU func(y, x *float32, n int)
	// ReLUGrad: dx = dy where y > 0, else +0.
	ReLUGrad func(dx, dy, y *float32, n int)
	// SGD: v = fma(momentum, v, fma(decay, theta, g)); theta = fma(-lr, v, theta).
	SGD func(theta, v, g *float32, n int, momentum, decay, lr float32)
	// Average: r = fma(keep, r, take*(scale*s)).
	Average func(r, s *float32, n int, keep, take, scale float32)
}

// Sets are the primitives that this processor and this build have, the plainest first: plain Go, AVX2 and AVX-512 (both need FMA).
func Sets() []*Set { return append([]*Set{&generic}, fast()...) }
