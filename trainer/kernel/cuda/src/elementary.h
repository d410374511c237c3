// exp and log of noise/elementary, bit for bit: polynomials in float64 whose products are rounded by themselves.
#pragma once

#include "order.h"

#define LN2_HI 0x1.62e42feep-1
#define LN2_LO 0x1.a39ef35793c76p-33

DEVICE double from_bits(unsigned long long bits) {
	double v;
	memcpy(&v, &bits, 8);
	return v;
}

DEVICE unsigned long long to_bits(double v) {
	unsigned long long bits;
	memcpy(&bits, &v, 8);
	return bits;
}

// 2^k for a normal power.
DEVICE double power_of_two(int k) { return from_bits((unsigned long long)(k + 1023) << 52); }

// (e^r - 1 - r)/r^2 for |r| <= ln(2)/2.
DEVICE double exp_q(double r) {
	double q = 0x1.1f730349868cep-29;
	q = q * r + 0x1.af4de97ca4194p-26;
	q = q * r + 0x1.27e4db646b17ep-22;
	q = q * r + 0x1.71de0231960ebp-19;
	q = q * r + 0x1.a01a01a6d889cp-16;
	q = q * r + 0x1.a01a01abe7fe1p-13;
	q = q * r + 0x1.6c16c16c162d4p-10;
	q = q * r + 0x1.11111111100dcp-7;
	q = q * r + 0x1.5555555555556p-5;
	q = q * r + 0x1.5555555555557p-3;
	return q * r + 0.5;
}

// e^x. NaN gives NaN, what overflows infinity, what underflows 0; denormal results are rounded once more.
DEVICE double exact_exp(double x) {
	if (x != x) return x;
	if (x > 0x1.62e42fefa39efp+9) return from_bits(0x7ff0000000000000ull);
	if (x < -0x1.74910d52d3052p+9) return 0.0;
	double k = floor(x * 0x1.71547652b82fep+0 + 0.5);
	double r = (x - k * LN2_HI) - k * LN2_LO;
	double y = 1.0 + (r + (r * r) * exp_q(r));
	if (k < -1021.0) return y * power_of_two((int)k + 53) * 0x1p-53;
	if (k > 1023.0) return y * power_of_two(1023) * power_of_two((int)k - 1023);
	return y * power_of_two((int)k);
}

// (log((1+s)/(1-s)) - 2s)/(s z) as a function of z = s^2.
DEVICE double log_r(double z) {
	double r = 0x1.2b59b713616c9p-3;
	r = r * z + 0x1.39fe42e9740a7p-3;
	r = r * z + 0x1.7462b58e46ebep-3;
	r = r * z + 0x1.c71c62e26208bp-3;
	r = r * z + 0x1.2492492df3ba9p-2;
	r = r * z + 0x1.99999999952ccp-2;
	return r * z + 0x1.5555555555558p-1;
}

// The natural logarithm. NaN and negative x give NaN, 0 gives -infinity.
DEVICE double exact_log(double x) {
	if (x != x || x > 0x1.fffffffffffffp+1023) return x;
	if (x < 0.0) return from_bits(0x7ff8000000000000ull);
	if (x == 0.0) return from_bits(0xfff0000000000000ull);
	double k = 0.0;
	if (x < 0x1p-1022) {
		x *= 0x1p52;
		k = -52.0;
	}
	unsigned long long bits = to_bits(x);
	k += (double)((int)(bits >> 52) - 1023);
	double m = from_bits((bits & 0xfffffffffffffull) | 0x3ff0000000000000ull);
	if (m > 0x1.6a09e667f3bcdp+0) {
		m = m / 2.0;
		k += 1.0;
	}
	double f = m - 1.0;
	double s = f / (2.0 + f);
	double z = s * s;
	double h = 0.5 * (f * f);
	double tail = s * (h + z * log_r(z)) + k * LN2_LO;
	return k * LN2_HI - ((h - tail) - f);
}
