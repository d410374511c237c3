// Long sums over the blocks of a launch, without another launch: every block leaves its part in the workspace, and of every FAN parts side by side the last block to come adds them up; of every FAN of these sums the last, and
// so on. That is the fixed tree, whoever comes when: a run of FAN parts at a multiple of FAN is a whole subtree of it. Many sums of a few parts are quicker than one of many, which a single block would read alone.
#pragma once

#include "half.h"

enum { FAN = 8 };

DEVICE float4 plus(float4 a, float4 b) { return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w); }

// fan_nodes is the parts and the sums of parts, without the last sum; fan_tickets the sums (fanOf in half_backward.go).
DEVICE int fan_nodes(int parts) {
	int n = 0;
	for (; parts > 1; parts = ceil_div(parts, FAN)) n += parts;
	return n;
}

DEVICE int fan_tickets(int parts) {
	int n = 0;
	while (parts > 1) n += parts = ceil_div(parts, FAN);
	return n;
}

// fan adds up `parts` parts of `quads` times four numbers, at nodes [fan_nodes(parts)][step], of which this block left number `part`. Ticket i is tickets[i * ticket_step]; flag is shared memory. Where there are two parts or
// more, the last block of all calls finish(quad, sum).
template <typename Finish>
DEVICE void fan(float4* nodes, int* tickets, int* flag, int part, int parts, int quads, int step, int ticket_step, Finish finish) {
	while (parts > 1) {
		int sums = ceil_div(parts, FAN), node = part / FAN, count = min((int)FAN, parts - node * FAN);
		if (!is_last(tickets + node * ticket_step, count, flag)) return;
		const float4* from = nodes + node * FAN * step;
		float4* to = nodes + (parts + node) * step;
		for (int quad = threadIdx.x; quad < quads; quad += blockDim.x) {
			float4 v[FAN];
			for (int i = 0; i < FAN; i++) v[i] = i < count ? from[i * step + quad] : make_float4(nothing(), nothing(), nothing(), nothing());
			float4 sum = plus(plus(plus(v[0], v[1]), plus(v[2], v[3])), plus(plus(v[4], v[5]), plus(v[6], v[7])));
			if (sums == 1)
				finish(quad, sum);
			else
				to[quad] = sum;
		}
		nodes += parts * step;
		tickets += sums * ticket_step;
		part = node;
		parts = sums;
	}
}
