// Random numbers by noise/philox, bit for bit (docs/random.md): Philox4x32-10 (Salmon et al. 2011), of a key of two words and a counter of four.
#pragma once

#include "device.h"

struct RandomBlock {
	unsigned w[4];
};

DEVICE RandomBlock philox(unsigned k0, unsigned k1, unsigned c0, unsigned c1, unsigned c2, unsigned c3) {
	for (int round = 0; round < 10; round++) {
		unsigned hi0 = __umulhi(0xD2511F53u, c0), lo0 = 0xD2511F53u * c0;
		unsigned hi1 = __umulhi(0xCD9E8D57u, c2), lo1 = 0xCD9E8D57u * c2;
		c0 = hi1 ^ c1 ^ k0;
		c1 = lo1;
		c2 = hi0 ^ c3 ^ k1;
		c3 = lo0;
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	return {{c0, c1, c2, c3}};
}

// A number in [0, 1) with 53 bits.
DEVICE double random_unit(unsigned lo, unsigned hi) { return (double)(((unsigned long long)hi << 32 | lo) >> 11) * 0x1p-53; }

// A number in [0, n): the high 64 bits of (hi << 32 | lo) * n.
DEVICE unsigned random_below(unsigned lo, unsigned hi, unsigned n) {
	unsigned long long low = (unsigned long long)lo * n;
	return (unsigned)(((unsigned long long)hi * n + (low >> 32)) >> 32);
}
