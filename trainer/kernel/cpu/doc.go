// Package cpu is the kernel set "generic": every Kind in plain Go, float32.
//
// # The arithmetic cpu/1
//
// What follows fixes every bit; a kernel set that follows it is of the same arithmetic. Numbers are float32 and every operation is rounded once, to
// nearest even; nothing is fused; denormals are kept; NaN is NaN whatever its payload and sign. "a + b c" below is a product, rounded, then a sum, rounded.
//
// A chain is s = 0, then s = s + a b for each term in the stated order. A convolution's chains have a term for every tap of the window: the image
// is bordered with zeros, which take part (0 times infinity is NaN). A chain never is -0, so terms of zeros leave it as it is and may be padded with.
//
//   - ConvForward: one chain over (c, r, s). ConvDataGrad: one chain over (k, r, s), of the (r, s) that meet this pixel at the op's stride, dy bordered with zeros.
//   - ConvWeightGrad: in a block one chain over (image, oy, ox), then the tree. ConvSquares: the chain of the image alone, then the squares of dw, in the order of memory, in lanes.
//   - Linear: forward one chain over c, then + b; data gradient one over k; weight and bias gradient in a block one chain over images, then the tree.
//     LinearSquares: q + (||dy||^2 ||x||^2 + ||dy||^2), each norm a chain.
//
// A block is 8 images of a group in a row, counted from the group's first; the last may be shorter. The tree over a group's blocks is that of
// kernel.Split. Lanes are 16 partial sums: element p of a plane (of H*W; or of a vector) is added to lane p mod 16, one image of the block after
// the other; then lane l takes lane l+8, then l+4, l+2, l+1.
//
//   - NormStats: lanes, tree, divided by the count: the mean; lanes of (x-mean)^2, tree: divided by the count and by count-1. NormSums: lanes of (x-shift) and of its square, tree.
//     NormFinish: in float64, rounded at the end. NormGradSums: lanes of dy (x-mean) and of dy, tree, the first times rstd. NormSquares: the same over an image; the chain over c of dgamma^2, dbeta^2; q + it.
//   - rstd = 1/sqrt(variance + Epsilon) in float64, rounded at the end. a = gamma rstd. NormForward: (x-mean) a + beta.
//     NormDataGrad: ((dy - dbeta/Count) - (x-mean) (dgamma/Count rstd)) a. NormEvalDataGrad: dy a.
//   - PoolForward: lanes, divided by H*W. PoolGrad: dy divided by H*W. View: (pixel/255 - mean)/std.
//   - ReLU: x < 0 gives 0, all else is itself. SGD: v = mu v + (g + lambda theta), theta = theta - lr v. RunningAverage: (1-mu) r + mu (Scale s); 1-mu is rounded once.
//   - Losses and softmax: in float64 (an image after the other in a block, then the tree), with noise/elementary's exp and log; rounded at the end. QuadraticGrad: Scale (f-y) in float32.
package cpu
