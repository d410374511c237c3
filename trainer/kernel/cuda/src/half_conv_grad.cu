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
