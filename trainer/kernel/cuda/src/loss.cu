// Losses over logits f [M][K], and soft labels y [M][K] or labels [M]: in float64 with noise/elementary's exp and log, rounded at the end. G groups of N images.
//
//   quadratic_images  sum (f - y)^2                      }
//   kd_images         sum p_y (log p_y - log p_f)        } of each image, [M] float64 in 8 bytes each; p_v = softmax(v/T)
//   ce_images         -log p_f[label]                    }
//   correct_images    1 if the first greatest logit is the label's, else 0; 0 with a NaN
//   loss_sum          loss [1] per group = scale times the sum over a block's images, one after the other, then the tree
//   quadratic_grad    df = scale (f - y) in float32
//   kd_grad           df = scale (p_f - p_y)
//   ce_grad           df = scale (p_f - onehot(label)), T = 1
//
// FLOPs: some 100 a logit and image. Bytes: 4 for each logit, soft label and result. A thread does an image, or of a gradient a number.

#include "elementary.h"

// Go's max: NaN if one is, and +0 above -0.
DEVICE double greater(double a, double b) {
	if (a != a || b != b) return a + b;
	if (a == 0.0 && b == 0.0) return a + b;
	return a > b ? a : b;
}

struct Softmax {
	const float* v;
	double temperature, most, sum;
};

DEVICE double logit(const Softmax& s, int k) { return (double)s.v[k] / s.temperature; }
DEVICE double exp_of(const Softmax& s, int k) { return exact_exp(logit(s, k) - s.most); }
DEVICE double probability(const Softmax& s, int k) { return exp_of(s, k) / s.sum; }
DEVICE double log_of(const Softmax& s, int k) { return logit(s, k) - s.most - exact_log(s.sum); }

DEVICE Softmax softmax(const float* v, int K, double temperature) {
	Softmax s = {v, temperature, (double)v[0] / temperature, 0.0};
	for (int k = 0; k < K; k++) s.most = greater(s.most, logit(s, k));
	for (int k = 0; k < K; k++) s.sum += exp_of(s, k);
	return s;
}

KERNEL(quadratic_images, (const float* f, const float* y, float* images, int n, int K)) {
	int i = thread_number();
	if (i >= n) return;
	double sum = 0.0;
	for (int k = 0; k < K; k++) {
		double d = (double)f[i * K + k] - (double)y[i * K + k];
		sum += d * d;
	}
	put_double(images + 2 * i, sum);
}

KERNEL(kd_images, (const float* f, const float* y, float* images, int n, int K, double temperature)) {
	int i = thread_number();
	if (i >= n) return;
	Softmax of = softmax(f + i * K, K, temperature), to = softmax(y + i * K, K, temperature);
	double sum = 0.0;
	for (int k = 0; k < K; k++) sum += probability(to, k) * (log_of(to, k) - log_of(of, k));
	put_double(images + 2 * i, sum);
}

KERNEL(ce_images, (const float* f, const int* labels, float* images, int n, int K)) {
	int i = thread_number();
	if (i >= n) return;
	Softmax of = softmax(f + i * K, K, 1.0);
	put_double(images + 2 * i, -log_of(of, labels[i]));
}

KERNEL(correct_images, (const float* f, const int* labels, float* images, int n, int K)) {
	int i = thread_number();
	if (i >= n) return;
	int best = 0;
	bool whole = true;
	for (int k = 0; k < K; k++) {
		float v = f[i * K + k];
		if (v != v) whole = false;
		if (v > f[i * K + best]) best = k;
	}
	put_double(images + 2 * i, whole && best == labels[i] ? 1.0 : 0.0);
}

KERNEL(loss_sum, (const float* images, float* loss, int n, int N, int stride, double scale)) {
	int i = thread_number();
	if (i >= n) return;
	int blocks = ceil_div(N, BLOCK_IMAGES);
	Tree<double> tree;
	for (int b = 0; b < blocks; b++) {
		Images block = block_of(i * blocks + b, N);
		double sum = 0.0;
		for (int image = block.from; image < block.to; image++) sum += get_double(images + 2 * image);
		tree.add(sum);
	}
	loss[i * stride] = (float)(scale * tree.sum());
}

KERNEL(quadratic_grad, (const float* f, const float* y, float* df, int n, float scale)) {
	int i = thread_number();
	if (i < n) df[i] = scale * (f[i] - y[i]);
}

KERNEL(kd_grad, (const float* f, const float* y, float* df, int n, int K, double temperature, double scale)) {
	int i = thread_number();
	if (i >= n) return;
	int k = i % K, image = i / K;
	Softmax of = softmax(f + image * K, K, temperature), to = softmax(y + image * K, K, temperature);
	df[i] = (float)(scale * (probability(of, k) - probability(to, k)));
}

KERNEL(ce_grad, (const float* f, const int* labels, float* df, int n, int K, double scale)) {
	int i = thread_number();
	if (i >= n) return;
	int k = i % K, image = i / K;
	Softmax of = softmax(f + image * K, K, 1.0);
	double p = probability(of, k);
	if (k == labels[image]) p -= 1.0;
	df[i] = (float)(scale * p);
}
