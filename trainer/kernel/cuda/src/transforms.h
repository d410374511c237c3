// One-dimensional transforms of Winograd's F(4x4, 3x3) (Lavin and Gray 2016) with the points 0, 3/4, -3/4, 3/2, -3/2 and infinity. Each is applied down the columns, then along the rows. Their formulas and order are
// those of trainer/kernel/cpu/vector (see InputTiles and its neighbours there).
#pragma once

#include "order.h"

enum { TILE = 4, PATCH = TILE + 2, POSITIONS = PATCH * PATCH };

#define WA 0.75f
#define WB 1.5f
#define WA2 0.5625f
#define WB2 2.25f
#define WA2B2 1.265625f
#define WS2 2.8125f
#define WA3 0.421875f
// Quotients of small whole numbers: each is rounded once.
#define WC0 (64.0f / 81.0f)
#define WCA (-128.0f / 243.0f)
#define WCB (32.0f / 243.0f)
#define WCAA (-32.0f / 81.0f)
#define WCBB (16.0f / 81.0f)
#define WCA2 (-8.0f / 27.0f)
#define WCB2 (8.0f / 27.0f)

// B^T d: six to six.
DEVICE void input_transform(const float* d, int from, float* o, int to) {
	float d0 = d[0], d1 = d[from], d2 = d[2 * from], d3 = d[3 * from], d4 = d[4 * from], d5 = d[5 * from];
	float e = __fmaf_rn(-WB2, d2, d4), f = __fmaf_rn(-WB2, d1, d3), g = __fmaf_rn(-WA2, d2, d4), h = __fmaf_rn(-WA2, d1, d3);
	o[0] = __fmaf_rn(WA2B2, d0, __fmaf_rn(-WS2, d2, d4));
	o[to] = __fmaf_rn(WA, f, e);
	o[2 * to] = __fmaf_rn(-WA, f, e);
	o[3 * to] = __fmaf_rn(WB, h, g);
	o[4 * to] = __fmaf_rn(-WB, h, g);
	o[5 * to] = __fmaf_rn(WA2B2, d1, __fmaf_rn(-WS2, d3, d5));
}

// A y: four to six.
DEVICE void grad_transform(const float* y, int from, float* o, int to) {
	float y0 = y[0], y1 = y[from], y2 = y[2 * from], y3 = y[3 * from];
	float e = __fmaf_rn(WA2, y2, y0), f = __fmaf_rn(WA2, y3, y1), g = __fmaf_rn(WB2, y2, y0), h = __fmaf_rn(WB2, y3, y1);
	o[0] = y0;
	o[to] = __fmaf_rn(WA, f, e);
	o[2 * to] = __fmaf_rn(-WA, f, e);
	o[3 * to] = __fmaf_rn(WB, h, g);
	o[4 * to] = __fmaf_rn(-WB, h, g);
	o[5 * to] = y3;
}

// A^T m: six to four.
DEVICE void output_transform(const float* m, int from, float* o, int to) {
	float m0 = m[0], m1 = m[from], m2 = m[2 * from], m3 = m[3 * from], m4 = m[4 * from], m5 = m[5 * from];
	float p = m1 + m2, q = m1 - m2, r = m3 + m4, s = m3 - m4;
	o[0] = (m0 + p) + r;
	o[to] = WA * __fmaf_rn(2.0f, s, q);
	o[2 * to] = WA2 * __fmaf_rn(4.0f, r, p);
	o[3 * to] = __fmaf_rn(WA3, __fmaf_rn(8.0f, s, q), m5);
}

// G g: three to six.
DEVICE void weight_transform(const float* w, int from, float* o, int to) {
	float g0 = w[0], g1 = w[from], g2 = w[2 * from];
	float e = __fmaf_rn(WA2, g2, g0), f = WA * g1, g = __fmaf_rn(WB2, g2, g0), h = WB * g1;
	o[0] = WC0 * g0;
	o[to] = WCA * (e + f);
	o[2 * to] = WCA * (e - f);
	o[3 * to] = WCB * (g + h);
	o[4 * to] = WCB * (g - h);
	o[5 * to] = g2;
}

// G^T s: six to three.
DEVICE void weight_grad_transform(const float* s, int from, float* o, int to) {
	float s0 = s[0], s1 = s[from], s2 = s[2 * from], s3 = s[3 * from], s4 = s[4 * from], s5 = s[5 * from];
	float p = s1 + s2, q = s1 - s2, r = s3 + s4, t = s3 - s4;
	o[0] = __fmaf_rn(WCA, p, __fmaf_rn(WCB, r, WC0 * s0));
	o[to] = __fmaf_rn(WCAA, q, WCBB * t);
	o[2 * to] = __fmaf_rn(WCA2, p, __fmaf_rn(WCB2, r, s5));
}

// The 36 numbers of a tile of x [h][w], whose 6x6 pixels begin at (top, left); those outside of the image are zeros.
DEVICE void input_tile(const float* x, int h, int w, int top, int left, float* out) {
	float rows[POSITIONS];
	for (int j = 0; j < PATCH; j++) {
		float column[PATCH];
		for (int i = 0; i < PATCH; i++) {
			int y = top + i, at = left + j;
			column[i] = y >= 0 && y < h && at >= 0 && at < w ? x[y * w + at] : 0.0f;
		}
		input_transform(column, 1, rows + j, PATCH);
	}
	for (int i = 0; i < PATCH; i++) input_transform(rows + i * PATCH, 1, out + i * PATCH, 1);
}

// The 36 numbers of a tile of dy [h][w], whose 4x4 pixels begin at (top, left); those outside of the image are zeros.
DEVICE void grad_tile(const float* dy, int h, int w, int top, int left, float* out) {
	float rows[PATCH * TILE];
	for (int j = 0; j < TILE; j++) {
		float column[TILE];
		for (int i = 0; i < TILE; i++) {
			int y = top + i, at = left + j;
			column[i] = y < h && at < w ? dy[y * w + at] : 0.0f;
		}
		grad_transform(column, 1, rows + j, TILE);
	}
	for (int i = 0; i < PATCH; i++) grad_transform(rows + i * TILE, 1, out + i * PATCH, 1);
}

// The 3x3 numbers of a gradient, of the sums at the 36 positions.
DEVICE void weight_grad_tile(const float* s, float* dw) {
	float rows[3 * PATCH];
	for (int j = 0; j < PATCH; j++) weight_grad_transform(s + j, PATCH, rows + j, PATCH);
	for (int i = 0; i < 3; i++) weight_grad_transform(rows + i * PATCH, 1, dw + i * 3, 1);
}
