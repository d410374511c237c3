#include "half_weight_grad.h"

KERNEL_BOUNDS(half_conv_weight_grad, GRAD_THREADS, (INPUT_PARAMETERS, GRADIENT_PARAMETERS, WEIGHT_GRAD_PARAMETERS, CONV_PARAMETERS, float epsilon)) {
	weight_grad(blockIdx.x, CONV, INPUT, GRADIENT, WEIGHT_GRAD, epsilon);
}
