// The gradients of convolutions of half precision, with what stands before and behind them on the way back.
//
//   x [M][C/16][H][W][16], dy [M][K/16][Ho][Wo][16], w [R R][K][C] packed (bf16); zero padding R/2, Ho = (H-1)/stride + 1; dy may be NormDataGrad, or NormEvalDataGrad, of what is read, and x relu(norm(x)), rounded.
//   half_conv_data_grad    dx = sum over (r, s, k) of dy w, rounded; then g = dx, or dx where norm(xn) > 0, or dx + r where z > 0; and of g the gradients of a batch normalisation over each group, or their squares over each image
//   half_conv_weight_grad  dw [K][C][R][R] of each group (float32) = sum over its images and their output pixels of dy x
//   half_conv_grads        both in one launch
//
// FLOPs: 2 M K C R R Ho Wo each, on tensor cores. Bytes: dx alone 2 (M C H W + M K Ho Wo) and the weights at best, dw alone as much without them; 2 M K Ho Wo more for the norm before, 2 M C H W for the norm behind and 4 M C H W for
// r and z. Together dy is to come from memory once. The parts of dw are 9 KiB a block, written once and read once.
//
// Blocks of 256 threads, two of them on a multiprocessor (128 registers; of half_conv_grads some 30 numbers that a part needs lie in local memory, none that a product does). All that a block reads is under way at once,
// by copies past the registers, and transformed in shared memory. How the work is cut is cutDataGrad's and weightPlanOf's (half_data_grad.go, half_weight_grad.go); ResNet-56 on an H200, 3x3, with a norm before and an addition behind:
//
//                                  batch 64: dx                          dw                     batch 1024: dx                          dw
//   x                dy            blocks  parts  slice  warp  KiB       blocks  images  KiB    blocks  parts  slice  warp  KiB         blocks  images  KiB
//   32x32x3  and 16  32x32x16         256      1      1   2x1   52           64       1   97       512      8      1   2x1   52            512       2   97
//   32x32x16         16x16x32         256      1      1   2x1   52           64       2   49       512      8      1   2x1   52            512       4   49
//   16x16x32         16x16x32         128      1      1   2x1   71          128       2   49       512      2      2   2x2  105            512       8   97
//   16x16x32         8x8x64           128      1      1   2x1   69           64       8   84       512      4      1   2x1   69            512      16   84
//   8x8x64           8x8x64           128      1      2   1x1   76          128       8   49       512      4      2   1x1   76            512      32  109
//
// parts and slice: those of a block, of at most 256 pixels and of 16 channels; warp: times 16 pixels by 16 channels; images: of a part of dw.
#include "half_data_grad_out.h"
#include "half_weight_grad.h"

#define RESULT_PARAMETERS                                                                                                                                                                                           \
	bf16 *g, int after, const bf16 *r, const bf16 *z, const bf16 *xn, const float *mean, const float *variance, const float *gamma, const float *beta, float *dgamma, float *dbeta, float *q, float *parts, float *cells, \
	    int *counters, int statistics_stride, int sums_stride, int repeat
#define RESULT                                                                                                                                                                                        \
	{                                                                                                                                                                                                 \
		g, after, r, z, xn, {mean, variance, dgamma, dbeta, q, parts, cells, counters, statistics_stride, sums_stride, epsilon}, gamma, beta, repeat \
	}

KERNEL_RESIDENT(half_conv_weight_grad, GRAD_THREADS, 2, (INPUT_PARAMETERS, GRADIENT_PARAMETERS, WEIGHT_GRAD_PARAMETERS, CONV_PARAMETERS, float epsilon)) {
	weight_grad(blockIdx.x, CONV, INPUT, GRADIENT, WEIGHT_GRAD, epsilon);
}

KERNEL_RESIDENT(half_conv_data_grad, DATA_THREADS, 2, (GRADIENT_PARAMETERS, const bf16* w, RESULT_PARAMETERS, DATA_CUT_PARAMETERS, CONV_PARAMETERS, float epsilon)) {
	data_grad(blockIdx.x, CONV, GRADIENT, w, DATA_CUT, RESULT, epsilon);
}

// Blocks of both kinds that read the same images of dy stand side by side, so that memory is read once for both: `weight_turn` of the one and `data_turn` of the other in turn, as long as there are so many of both.
KERNEL_RESIDENT(half_conv_grads, GRAD_THREADS, 2, (int weight_turn, int data_turn, int turns, int weight_blocks, INPUT_PARAMETERS, GRADIENT_PARAMETERS, WEIGHT_GRAD_PARAMETERS, const bf16* w, RESULT_PARAMETERS, DATA_CUT_PARAMETERS,
                                                   CONV_PARAMETERS, float epsilon)) {
	int turn = blockIdx.x / (weight_turn + data_turn), of = blockIdx.x % (weight_turn + data_turn);
	bool weights = of < weight_turn;
	int block = weights ? turn * weight_turn + of : turn * data_turn + of - weight_turn;
	if (turn >= turns) { // what is left of one kind
		int rest = blockIdx.x - turns * (weight_turn + data_turn);
		weights = turns * weight_turn < weight_blocks;
		block = rest + turns * (weights ? weight_turn : data_turn);
	}
	if (weights)
		weight_grad(block, CONV, INPUT, GRADIENT, WEIGHT_GRAD, epsilon);
	else
		data_grad(block, CONV, GRADIENT, w, DATA_CUT, RESULT, epsilon);
}
