// Squared norms of the gradients of single images: q [M], added to. `repeat` gradients dy in a row belong to one image of x.
//
//   direct_squares    of dw [K][C][R][R] = chain over (oy, ox) of x dy: fma(dw, dw, .)
//   winograd_squares  of dw by Winograd's filtering, from v [36][T][Cp] and q [36][T][Kp], the tiles of x and of dy (winograd.cu), channels up to whole blocks of 16
//   ghost_gram        A[p][r] = chain over a window's terms of x at pixel p times x at pixel r; B = 2 A where r < p, A where r = p, 0 where r > p: [images][P][P]
//   ghost_squares     of dw without dw: the sum of dy Z, Z[p][k] = chain over r, up to the end of p's run of 16 pixels, of B[p][r] dy[r][k]
//   add_squares       q += lanes by halves of (0 + 2) + (1 + 3) of acc [M][16][4]; ghost: not below 0
//   norm_squares      q += the chain over channels of dgamma^2, dbeta^2, of an image's sums acc (norm.cu)
//   linear_squares    q += ||dy||^2 ||x||^2 + ||dy||^2
//
// The order is that of vectors of 16 output channels (trainer/kernel/cpu): a lane has every 16th output channel, and four accumulators, acc [M][16][4], that its terms go round. What fills the last block of
// channels is zeros, which take part: 0 times infinity is NaN.
//
// FLOPs an image: direct 2 K C R R Ho Wo; Winograd 72 th tw C K; ghost P P K (half of it twice), and 2 P P C R R / repeat for A. Bytes: 4 for each number of x, dy and what is in between, from the caches but for the first time.
// A thread does one accumulator of one lane.

#include "transforms.h"

KERNEL(direct_squares, (const float* x, const float* dy, float* acc, int n, int C, int H, int W, int K, int R, int stride, int Ho, int Wo, int repeat)) {
	int i = thread_number();
	if (i >= n) return;
	int turn = i % 4, lane = i / 4 % LANES, image = i / (4 * LANES);
	int depth = C < LANES ? C : ceil_div(C, LANES) * LANES;
	float sum = 0.0f;
	for (int k = lane; k < ceil_div(K, LANES) * LANES; k += LANES) {
		const float* gradient = dy + (image * K + k) * Ho * Wo;
		for (int term = turn; term < R * R * depth; term += 4) {
			int c = term % depth, s = term / depth % R, r = term / (depth * R);
			if (c >= C) continue; // a gradient of 0
			const float* from = x + (image / repeat * C + c) * H * W;
			float dw = 0.0f;
			for (int oy = 0; oy < Ho; oy++) {
				int row = oy * stride + r - R / 2;
				for (int ox = 0; ox < Wo; ox++) {
					int column = ox * stride + s - R / 2;
					bool inside = row >= 0 && row < H && column >= 0 && column < W;
					dw = __fmaf_rn(inside ? from[row * W + column] : 0.0f, k < K ? gradient[oy * Wo + ox] : 0.0f, dw);
				}
			}
			sum = __fmaf_rn(dw, dw, sum);
		}
	}
	acc[i] = sum;
}

KERNEL(winograd_squares, (const float* v, const float* q, float* acc, int n, int C, int K, int tiles, int v_position, int q_position, int repeat)) {
	int i = thread_number();
	if (i >= n) return;
	int turn = i % 4, lane = i / 4 % LANES, image = i / (4 * LANES);
	float sum = 0.0f;
	for (int k = lane; k < K; k += LANES) {
		const float* right = q + image * tiles * K + k;
		for (int c = turn; c < C; c += LANES) {
			float dw[LANES / 4][9];
			for (int j = 0; j < LANES / 4; j++) {
				const float* left = v + image / repeat * tiles * C + c + 4 * j;
				float sums[POSITIONS];
				for (int p = 0; p < POSITIONS; p++) {
					float s = 0.0f;
					for (int t = 0; t < tiles; t++) s = __fmaf_rn(left[p * v_position + t * C], right[p * q_position + t * K], s);
					sums[p] = s;
				}
				weight_grad_tile(sums, dw[j]);
			}
			for (int tap = 0; tap < 9; tap++)
				for (int j = 0; j < LANES / 4; j++) sum = __fmaf_rn(dw[j][tap], dw[j][tap], sum);
		}
	}
	acc[i] = sum;
}

KERNEL(ghost_gram, (const float* x, float* gram, int n, int C, int H, int W, int R, int stride, int Ho, int Wo)) {
	int i = thread_number();
	if (i >= n) return;
	int P = Ho * Wo, second = i % P, first = i / P % P, image = i / (P * P);
	float sum = 0.0f;
	if (second <= first) {
		int top1 = first / Wo * stride - R / 2, left1 = first % Wo * stride - R / 2, top2 = second / Wo * stride - R / 2, left2 = second % Wo * stride - R / 2;
		const float* from = x + image * C * H * W;
		for (int r = 0; r < R; r++) {
			for (int s = 0; s < R; s++) {
				int y1 = top1 + r, x1 = left1 + s, y2 = top2 + r, x2 = left2 + s;
				bool inside1 = y1 >= 0 && y1 < H && x1 >= 0 && x1 < W, inside2 = y2 >= 0 && y2 < H && x2 >= 0 && x2 < W;
				for (int c = 0; c < C; c++)
					sum = __fmaf_rn(inside1 ? from[(c * H + y1) * W + x1] : 0.0f, inside2 ? from[(c * H + y2) * W + x2] : 0.0f, sum);
			}
		}
		if (second < first) sum += sum;
	}
	gram[i] = sum;
}

KERNEL(ghost_squares, (const float* gram, const float* dy, float* acc, int n, int K, int P, int repeat)) {
	int i = thread_number();
	if (i >= n) return;
	int turn = i % 4, lane = i / 4 % LANES, image = i / (4 * LANES);
	float sum = 0.0f;
	for (int k = lane; k < ceil_div(K, LANES) * LANES; k += LANES) {
		const float* gradient = dy + (image * K + k) * P;
		for (int p = turn; p < P; p += 4) {
			const float* row = gram + (image / repeat * P + p) * P;
			int end = min((p / LANES + 1) * LANES, P);
			float z = 0.0f;
			for (int r = 0; r < end; r++) z = __fmaf_rn(row[r], k < K ? gradient[r] : 0.0f, z);
			sum = __fmaf_rn(k < K ? gradient[p] : 0.0f, z, sum);
		}
	}
	acc[i] = sum;
}

KERNEL(add_squares, (const float* acc, float* q, int n, int ghost)) {
	int i = thread_number();
	if (i >= n) return;
	float lanes[LANES];
	for (int l = 0; l < LANES; l++) lanes[l] = four(acc + (i * LANES + l) * 4);
	float squares = by_halves(lanes);
	if (ghost && squares <= 0.0f) squares = 0.0f;
	q[i] += squares;
}

KERNEL(norm_squares, (const float* acc, const float* variance, float* q, int n, int C, double epsilon)) {
	int i = thread_number();
	if (i >= n) return;
	float squares = 0.0f;
	for (int c = 0; c < C; c++) {
		float dbeta = four(acc + (i * C + c) * 4);
		float dgamma = (float)((double)four(acc + ((n + i) * C + c) * 4) * rstd(variance[c], epsilon));
		squares += dgamma * dgamma;
		squares += dbeta * dbeta;
	}
	q[i] += squares;
}

DEVICE float squared_length(const float* v, int n) {
	float sum = 0.0f;
	for (int i = 0; i < n; i++) sum += v[i] * v[i];
	return sum;
}

KERNEL(linear_squares, (const float* x, const float* dy, float* q, int n, int C, int K, int repeat)) {
	int i = thread_number();
	if (i >= n) return;
	float of_x = squared_length(x + i / repeat * C, C), of_dy = squared_length(dy + i * K, K);
	q[i] += of_dy * of_x + of_dy;
}
