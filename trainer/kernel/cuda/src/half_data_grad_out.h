// What becomes of the gradient of a convolution's input on its way out of shared memory: a ReLU's mask, an addition, the sums of a batch normalisation's gradients.
#pragma once

#include "half_data_grad.h"
#include "half_norm_grad.h"

// kernel.Fusion.
enum { AFTER_ALONE = 0, AFTER_RELU_SUMS = 7, AFTER_ADD_SUMS = 8, AFTER_RELU_SQUARES = 9, AFTER_ADD_SQUARES = 10 };

struct DataResult {
	bf16* g;
	int after;
	const bf16 *r, *z, *xn; // z and xn have an image for every `repeat` images of g
	NormParts norm;         // mean, variance and what is made of the sums; mean and variance of groups are norm.stride apart
	const float *gamma, *beta;
	int repeat;

	__device__ bool masks() const { return after == AFTER_RELU_SUMS || after == AFTER_RELU_SQUARES; }
	__device__ bool adds() const { return after == AFTER_ADD_SUMS || after == AFTER_ADD_SQUARES; }
	__device__ bool squares() const { return after == AFTER_RELU_SQUARES || after == AFTER_ADD_SQUARES; }
};

// put_result leaves scale, bias and mean of the slice's channels, [blocks][3][16].
DEVICE void put_result(float* to, const DataResult& out, int group, int first, int blocks, int C) {
	if (out.after == AFTER_ALONE) return;
	for (int i = threadIdx.x; i < blocks * CHANNELS; i += blockDim.x) {
		int c = first * CHANNELS + i;
		float* of = to + i / CHANNELS * COEFFICIENTS + i % CHANNELS;
		float mean = c < C ? out.norm.mean[group * out.norm.stride + c] : 0.0f;
		float2 affine = make_float2(0.0f, 0.0f);
		if (c < C && out.masks()) affine = half_affine(mean, out.norm.variance[group * out.norm.stride + c], out.gamma[c], out.beta[c], out.norm.epsilon);
		of[0] = affine.x, of[CHANNELS] = affine.y, of[2 * CHANNELS] = mean;
	}
}

// load_behind begins to copy what stands behind a part into shared memory: xn, and r and z, each [blocks][pixels][16].
DEVICE void load_behind(uint4* to, const DataResult& out, const Conv& c, const DataPart& p, int first, int blocks) {
	int own = p.image * channel_blocks(c.C) + first, before = p.image / out.repeat * channel_blocks(c.C) + first, plane = c.H * c.W, lie = plane_of(p.pixels());
	Extent e = extent_of(before * plane, blocks, plane, p.y, p.x, p.height, p.width, c.W, 0);
	e.lie = lie;
	copy_tile(to, to, {out.xn, out.xn, READ_ALONE}, e);
	if (!out.adds()) return;
	copy_tile(to + 2 * blocks * lie, to, {out.z, out.z, READ_ALONE}, e);
	e.from += 2 * (own - before) * plane;
	copy_tile(to + blocks * lie, to, {out.r, out.r, READ_ALONE}, e);
}

// What becomes of dx.
enum { OUT_ALONE, OUT_MASK, OUT_ADD };

// part_out takes a part's dx out of the tile; `behind` is what load_behind left. A warp does a run of a block of channels: 4 pixels of 4 channels a lane, whose sums it leaves in runs [blocks][PART_RUNS][SUMS]. A pixel that there is not is read as the last one, and counts
// for nothing.
template <int HOW>
DEVICE void part_out(const DataResult& out, const Conv& c, const DataPart& p, const uint4* tile, const uint4* behind, int first, int blocks, const float* coefficients, float* runs) {
	const int pixels = p.pixels(), count = ceil_div(pixels, RUN_PIXELS), channel = RunSums::channel(), lie = plane_of(pixels);
	Divisor across(p.width), units(count);
	NOT_UNROLLED for (int unit = threadIdx.x / 32; unit < count * blocks; unit += DATA_WARPS) {
		int block = units.quotient(unit), run = unit - block * count, first_pixel = run * RUN_PIXELS + RunSums::pixel();
		bf16* to = out.g + (p.image * channel_blocks(c.C) + first + block) * c.H * c.W * CHANNELS + channel;
		const float* of = coefficients + block * COEFFICIENTS + channel;
		RunSums sums;
		UNROLL for (int j = 0; j < 4; j++) {
			int i = min(first_pixel + 8 * j, pixels - 1), row = across.quotient(i), half = channel / 8, at = channel / 4 % 2;
			bool there = first_pixel + 8 * j < pixels;
			const uint4* other = behind + block * lie + tile_vector(i, half);
			uint2 value = ((const uint2*)(tile + block * 2 * pixels + tile_vector(i, half)))[at];
			if (HOW != OUT_ALONE) {
				float g[4], xn[4], mask[4];
				unpack(((const uint2*)other)[at], xn);
				if (HOW == OUT_ADD) {
					uint2 r = ((const uint2*)(other + blocks * lie))[at];
					value = make_uint2(half_add(value.x, r.x), half_add(value.y, r.y));
					unpack(((const uint2*)(other + 2 * blocks * lie))[at], mask);
				}
				unpack(value, g);
				UNROLL for (int i = 0; i < 4; i++) {
					float m = HOW == OUT_ADD ? mask[i] : bf16_float(float_bf16(__fmaf_rn(xn[i], of[i], of[CHANNELS + i])));
					g[i] = passed(m, g[i]);
				}
				value = pack(g);
				UNROLL for (int i = 0; i < 4; i++) {
					xn[i] = there ? xn[i] - of[2 * CHANNELS + i] : 0.0f;
					g[i] = there ? g[i] : nothing();
				}
				sums.take(g, xn);
			}
			if (there) *(uint2*)(to + ((p.y + row) * c.W + p.x + i - row * p.width) * CHANNELS) = value;
		}
		if (HOW != OUT_ALONE) {
			float v = sums.sum();
			runs[(block * PART_RUNS + run) * SUMS + RunSums::number()] = v;
		}
	}
}

// data_grad is block `number` of a data gradient: `share` parts of a group, one after the other, and a slice of its input channels, whose weights stay where they are if all of them are there.
DEVICE void data_grad(int number, const Conv& c, const Gradient& g, const bf16* w, const DataCut& cut, const DataResult& out, float epsilon) {
	SHARED_DYNAMIC(uint4, shared);
	const int each = ceil_div(c.H, cut.rows) * ceil_div(c.W, cut.columns), n = c.N * each, Cb = channel_blocks(c.C), Kb = channel_blocks(c.K), slices = ceil_div(Cb, cut.slice), shares = ceil_div(n, cut.share);
	const int slice = number % slices, group = number / slices / shares, first_part = number / slices % shares * cut.share;
	const int first = slice * cut.slice, blocks = min(cut.slice, Cb - first), pitch = 2 * cut.slice + 1, all = c.R * c.R, warp = threadIdx.x / 32;
	float *coefficients = (float*)(shared + 1), *after = coefficients + (g.how == READ_ALONE ? 0 : Kb * COEFFICIENTS), *runs = (float*)(shared + cut.runs);
	const bool once = cut.chunk >= Kb && cut.taps >= all;
	if (once) load_weights(shared + cut.weights, w, c, 0, all, 0, Kb, first, blocks, pitch);
	const Source from = {g.dy, g.xn, g.how};
	bool prepared = false;
	NOT_UNROLLED for (int part = first_part; part < min(first_part + cut.share, n); part++) {
		DataPart p(c, cut, group, part);
		int high = ceil_div(ceil_div(p.pixels(), 16), cut.mt), pixel = warp % high * cut.mt * 16, block = warp / high * cut.nt;
		DataSums sums;
		NOT_UNROLLED for (int k = 0; k < Kb; k += cut.chunk) {
			int count = min(cut.chunk, Kb - k);
			if (prepared) BARRIER();
			Extent extent = extent_of((p.image * Kb + k) * c.Ho * c.Wo, count, c.Ho * c.Wo, p.top, p.left, p.high, p.wide, c.Wo, COEFFICIENTS);
			extent.lie = p.plane();
			copy_tile(shared + cut.tile, shared + cut.norm, from, extent);
			NOT_UNROLLED for (int tap = 0; tap < all; tap += cut.taps) {
				int taps = min(cut.taps, all - tap);
				bool begins = k == 0 && tap == 0;
				if (tap > 0) BARRIER();
				if (!once) load_weights(shared + cut.weights, w, c, tap, taps, k, count, first, blocks, pitch);
				if (begins && out.after) load_behind(shared + cut.behind, out, c, p, first, blocks);
				if (!prepared) {
					if (threadIdx.x == 0) shared[0] = make_uint4(0, 0, 0, 0);
					put_gradient(coefficients, g, group, 0, Kb, c.K, epsilon);
					put_result(after, out, group, first, blocks, c.C);
					BARRIER();
					prepared = true;
				}
				if (begins && out.adds()) // what stands behind may come later: it is the newest groups of copies
					copy_async_wait<3>();
				else if (begins && out.after)
					copy_async_wait<1>();
				else
					copy_async_wait<0>();
				if (tap == 0) transform_tile(shared + cut.tile, shared + cut.norm, from, extent, coefficients + k * COEFFICIENTS);
				BARRIER();
				if (block >= blocks) continue;
				if (cut.mt == 1 && cut.nt == 1) add_data_products<1, 1>(sums, shared, c, cut, p, tap, taps, count, pixel, block);
				if (cut.mt == 2 && cut.nt == 1) add_data_products<2, 1>(sums, shared, c, cut, p, tap, taps, count, pixel, block);
				if (cut.mt == 2 && cut.nt == 2) add_data_products<2, 2>(sums, shared, c, cut, p, tap, taps, count, pixel, block);
			}
		}
		BARRIER();
		copy_async_wait<0>();
		if (block < blocks) leave(sums, shared + cut.tile, p, pixel, block, blocks, cut.mt, cut.nt);
		BARRIER();
		if (c.stride > c.R) clear_bare(shared + cut.tile, c, p, blocks);
		if (out.masks())
			part_out<OUT_MASK>(out, c, p, shared + cut.tile, shared + cut.behind, first, blocks, after, runs);
		else if (out.adds())
			part_out<OUT_ADD>(out, c, p, shared + cut.tile, shared + cut.behind, first, blocks, after, runs);
		else
			part_out<OUT_ALONE>(out, c, p, shared + cut.tile, shared + cut.behind, first, blocks, after, runs);
		if (!out.after) continue;
		BARRIER();
		put_part(out.norm, runs, p.pixels(), group, part, n, first, blocks, Cb, PART_RUNS * SUMS);
		if (out.squares()) image_squares(out.norm, p.image, each, n, c.N, slices * each, c.C, (float*)(shared + cut.tile));
	}
	if (out.after && !out.squares()) group_gradients(out.norm, group, first_part, n, cut.share, slice, slices, first, blocks, c.C, (float*)(shared + cut.tile));
}
