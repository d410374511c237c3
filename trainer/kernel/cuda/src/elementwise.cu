// From number to number, n of them; a thread does one.
//
//   relu          y = 0 where x < 0, else x
//   relu_grad     dx = dy where y > 0, else 0; an image has `image` elements, and `repeat` images of dy in a row belong to one of y
//   add           y = a + b
//   zero          y = 0
//   gather        y = x[index], 0 where index < 0
//   one_hot       df [M][K] = 1 at class i mod K of row i, else 0
//   sgd           v = momentum v + (decay theta + g), theta = -lr v + theta, each product and sum rounded once
//   running_average  r = keep r + take (scale s)
//
// FLOPs: 0 to 4 a number. Bytes: 4 for each number that is read or written; in all 4 (reads + writes) n.

#include "order.h"

KERNEL(relu, (const float* x, float* y, int n)) {
	int i = thread_number();
	if (i < n) y[i] = rectified(x[i]);
}

KERNEL(relu_grad, (const float* dy, const float* y, float* dx, int n, int image, int repeat)) {
	int i = thread_number();
	if (i < n) dx[i] = passed(y[i / image / repeat * image + i % image], dy[i]);
}

KERNEL(add, (const float* a, const float* b, float* y, int n)) {
	int i = thread_number();
	if (i < n) y[i] = a[i] + b[i];
}

KERNEL(zero, (float* y, int n)) {
	int i = thread_number();
	if (i < n) y[i] = 0.0f;
}

KERNEL(gather, (const float* x, const int* index, float* y, int n)) {
	int i = thread_number();
	if (i < n) y[i] = index[i] < 0 ? 0.0f : x[index[i]];
}

KERNEL(one_hot, (float* df, int n, int K)) {
	int i = thread_number();
	if (i < n) df[i] = i / K % K == i % K ? 1.0f : 0.0f;
}

KERNEL(sgd, (float* theta, float* v, const float* g, const float* lr, int n, float momentum, float decay)) {
	int i = thread_number();
	if (i >= n) return;
	float velocity = __fmaf_rn(momentum, v[i], __fmaf_rn(decay, theta[i], g[i]));
	v[i] = velocity;
	theta[i] = __fmaf_rn(-lr[0], velocity, theta[i]);
}

KERNEL(running_average, (float* r, const float* s, int n, float keep, float take, float scale)) {
	int i = thread_number();
	if (i < n) r[i] = __fmaf_rn(keep, r[i], take * (scale * s[i]));
}
