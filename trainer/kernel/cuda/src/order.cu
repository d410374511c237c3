// The end of every sum over the images of a group: parts [G][blocks][width], one of each block of images -> sum [width] per group, `stride` elements apart, in the fixed tree.
//
// FLOPs: G (blocks - 1) width. Bytes: 4 G (blocks + 1) width.

#include "order.h"

KERNEL(add_parts, (const float* parts, float* sum, int n, int width, int blocks, int stride)) {
	int i = thread_number();
	if (i >= n) return;
	int at = i % width, group = i / width;
	Tree<float> tree;
	for (int block = 0; block < blocks; block++) tree.add(parts[(group * blocks + block) * width + at]);
	sum[group * stride + at] = tree.sum();
}
