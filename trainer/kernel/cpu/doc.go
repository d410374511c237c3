// Package cpu is the kernel sets "generic", "avx2" and "avx512": every Kind in float32, on the primitives of package vector, in activations of blocks of 16 channels.
//
// # The arithmetic cpu/2
//
// What follows, and the formulas of package vector, fix every bit; every set here is of this arithmetic. Numbers are float32 and every operation is rounded once, to nearest even; fma(a, b, c) is a b + c,
// rounded once; "a + b c" below is a product, rounded, then a sum, rounded. Denormals are kept; NaN is NaN whatever its payload and sign. Which algorithm an op uses is a function of its shapes alone.
//
// A chain is s = 0, then s = fma(a, b, s) for each term in the stated order. Images are bordered with zeros, which take part (0 times infinity is NaN). A chain never is -0, so terms of zeros leave it as it is and
// may be padded with.
//
//   - 3x3 convolutions of stride 1 with C >= 8 and K >= 8: Winograd's F(4x4, 3x3), with the transforms of package vector; at each position one chain over the input's channels. Tiles begin at the image's first pixel; beyond
//     its last are zeros. The weight gradient is one chain at each position over the tiles of a block, row by row, image after image, then transformed; then the tree.
//   - Other convolutions: a forward pass is one chain over (r, s, c), a data gradient one over the (r, s) that meet the pixel, then k; a weight gradient in a block one chain over (image, oy, ox), then the tree.
//   - Linear: forward one chain over c, then + b; data gradient one over k; weight gradient in a block one chain over images, then the tree; bias gradient in a block a sum over images, one after
//     the other, then the tree. LinearSquares: q + (||dy||^2 ||x||^2 + ||dy||^2), each norm a sum of rounded squares, one after the other.
//
// A block is 8 images of a group in a row, counted from the group's first; the last may be shorter. The tree over a group's blocks is that of kernel.Split.
//
//   - Sums over an image's plane have four accumulators, pixel p goes to p mod 4, added up as (0 + 2) + (1 + 3); a block's sum is that of its images, one after the other; then the tree.
//   - NormStats, NormSums: of d = x - shift and fma(d, d, .); then, in float64, rounded at the end, mean = shift + sum/count, variance = squares/count - (sum/count)^2, not below 0. NormGradSums: of dy and of
//     fma(dy, x - mean, .); dgamma is that times rstd in float64. NormSquares: of an image; the sum over c of dgamma^2, dbeta^2, one after the other; q + it.
//   - rstd = 1/sqrt(variance + Epsilon) in float64. scale = gamma rstd, rounded. NormForward: fma(x, scale, beta - mean scale), the last in float64, then rounded. NormDataGrad: fma(dy, scale, fma(x, slope, shift)), slope = -(scale/Count rstd) dgamma
//     and shift = -scale/Count dbeta - slope mean in float64, each then rounded. NormEvalDataGrad: dy scale.
//   - ConvSquares: with G the products that dw of an image takes (P R R C K for y's P pixels; Winograd: (36 tiles + 100) C K), where P <= 256 and P P (K Repeat + 2 R R C) < 2 Repeat G, without dw: A[p][q] one chain
//     over (r, s, c) of the products of x's terms at pixels p and q; B = 2 A where q < p, A where q = p, 0 where q > p; Z[p][k] one chain over q, up to the end of p's run of 16 pixels, of B[p][q] dy[q][k]; then fma(dy, Z, .)
//     by pixels to four accumulators as above, a block of 16 output channels after the other; lanes by halves; not below 0. An infinity may come out as NaN.
//     Else the squares of the image's own dw, rounded by fma(dw, dw, .) and in vectors of 16 output channels to four accumulators as above: a block of output channels after the other, in it by (r, s, c), or with Winograd's
//     filtering by (block of 16 input channels, r, s, c); lanes by halves.
//   - Lanes by halves: lane l takes lane l+8, then l+4, l+2, l+1.
//   - PoolForward: the plane's sum divided by H*W. PoolGrad: dy divided by H*W. View: (pixel/255 - mean)/std.
//   - ReLU: x < 0 gives 0, all else is itself. SGD and RunningAverage: as in package vector; 1-mu is rounded once.
//   - Losses and softmax: in float64 (an image after the other in a block, then the tree), with noise/elementary's exp and log; rounded at the end. QuadraticGrad: Scale (f-y) in float32.
//   - GaussianNoise, SymmetricNoise: as docs/random.md says; they are package noise's and the same in every arithmetic.
package cpu
