// mma_bf16 and load_matrices: the last lane that comes takes all lanes' registers, and gives each its own. The layouts are told in ../src/tensor.h.
#include <cstring>

#include "launch.h"
#include "memory.h"
#include "races.h"

namespace softcuda {

namespace {
constexpr int M = 16, N = 8, K = 16;

struct Product {
	float *d;
	const unsigned *a, *b;
};

struct Load {
	unsigned *r;
	const void *row;
};

// What a lane of the running warp handed in; it lies on that lane's stack.
template <typename T> T &of_lane(int lane) { return *reinterpret_cast<T *>(launch.thread[launch.now / 32 * 32 + lane].value); }
template <typename T> void hand_in(T *own) { launch.thread[launch.now].value = reinterpret_cast<uint64_t>(own); }

// A pair of bf16, each exactly a float.
void unpack(unsigned pair, float *low, float *high) {
	*low = bits<float>(pair << 16);
	*high = bits<float>(pair & 0xffff0000u);
}

// d[M][N] += a[M][K] b[K][N], each a chain of fused multiply-adds over k, from the first to the last, that begins with d. The products are exact in float.
__attribute__((optimize("O3"))) void multiply(float (*d)[N], const float (*a)[K], const float (*b)[N]) {
	for (int m = 0; m < M; m++) {
		float sum[N];
		std::memcpy(sum, d[m], sizeof sum);
		for (int k = 0; k < K; k++)
			for (int n = 0; n < N; n++) sum[n] = __builtin_fmaf(a[m][k], b[k][n], sum[n]);
		std::memcpy(d[m], sum, sizeof sum);
	}
}
}  // namespace

void warp_product(float *d, const unsigned *a, const unsigned *b, const char *file, int line) {
	Product own{d, a, b};
	hand_in(&own);
	if (!last_of_warp("mma_bf16", file, line)) return;
	float left[M][K], sums[M][N], right[N][K], turned[K][N];
	for (int lane = 0; lane < 32; lane++) {
		const Product &p = of_lane<Product>(lane);
		const int g = lane / 4, pair = lane % 4 * 2;
		for (int half = 0; half < 2; half++) {
			unpack(p.a[half], &left[g + 8 * half][pair], &left[g + 8 * half][pair + 1]);
			unpack(p.a[2 + half], &left[g + 8 * half][pair + 8], &left[g + 8 * half][pair + 9]);
			unpack(p.b[half], &right[g][pair + 8 * half], &right[g][pair + 8 * half + 1]);
			std::memcpy(&sums[g + 8 * half][pair], p.d + 2 * half, 8);
		}
	}
	for (int k = 0; k < K; k++)
		for (int n = 0; n < N; n++) turned[k][n] = right[n][k];
	multiply(sums, left, turned);
	for (int lane = 0; lane < 32; lane++)
		for (int half = 0; half < 2; half++) std::memcpy(of_lane<Product>(lane).d + 2 * half, &sums[lane / 4 + 8 * half][lane % 4 * 2], 8);
}

void must_be_shared(const void *address, const char *word, const char *file, int line) {
	const uintptr_t at = reinterpret_cast<uintptr_t>(address);
	const auto wrong = [&](const std::string &how) {
		abandon(Outcome::bad_address, std::string(word) + " at " + file + ":" + std::to_string(line) + " takes 16 bytes of shared memory, and is given " + how);
	};
	if (!shared(at, 16)) wrong(describe(at));
	if (at % 16 != 0) wrong("an address that is no multiple of 16: " + describe(at));
}

void warp_load(unsigned *r, int n, const void *row, bool transposed, const char *file, int line) {
	Load own{r, row};
	hand_in(&own);
	const char *const word = transposed ? "load_matrices_transposed" : "load_matrices";
	if (!last_of_warp(word, file, line)) return;
	uint16_t matrix[4][8][8];
	const int self = launch.now;
	for (int lane = 0; lane < 8 * n; lane++) {
		// What is wrong with a lane's address is told of that lane, and its read is that lane's.
		launch.now = self / 32 * 32 + lane;
		const void *from = of_lane<Load>(lane).row;
		must_be_shared(from, word, file, line);
		if (checks().races) touch(reinterpret_cast<uintptr_t>(from), 16, Touch::reads);
		std::memcpy(matrix[lane / 8][lane % 8], from, 16);
	}
	launch.now = self;
	for (int lane = 0; lane < 32; lane++) {
		const int g = lane / 4, pair = lane % 4 * 2;
		for (int i = 0; i < n; i++) {
			const unsigned low = transposed ? matrix[i][pair][g] : matrix[i][g][pair], high = transposed ? matrix[i][pair + 1][g] : matrix[i][g][pair + 1];
			of_lane<Load>(lane).r[i] = low | high << 16;
		}
	}
}

}  // namespace softcuda
