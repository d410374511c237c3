// Sine, cosine and normal numbers of noise/elementary, bit for bit: polynomials in float64 whose products are rounded by themselves.
#pragma once

#include "elementary.h"
#include "philox.h"

// (sin(2 pi t) - 2 pi t)/t^3 as a function of z = t^2 <= 1/64.
DEVICE double sin_s(double z) {
	double s = -0x1.6cc564dff8a7ap-1;
	s = s * z + 0x1.e8f036889ff68p+1;
	s = s * z - 0x1.e3074d25df4e9p+3;
	s = s * z + 0x1.50783486fab1cp+5;
	s = s * z - 0x1.32d2cce62b872p+6;
	s = s * z + 0x1.466bc6775aae1p+6;
	return s * z - 0x1.4abbce625be53p+5;
}

// (cos(2 pi t) - 1 + 2 pi^2 z)/z^2 as a function of z = t^2 <= 1/64.
DEVICE double cos_c(double z) {
	double c = -0x1.b3832af2a4f71p+0;
	c = c * z + 0x1.f9cfc045b083cp+2;
	c = c * z - 0x1.a6d1f0ab527ebp+4;
	c = c * z + 0x1.e1f5068830144p+5;
	c = c * z - 0x1.55d3c7e3cbd74p+6;
	return c * z + 0x1.03c1f081b5ac4p+6;
}

struct SinCos {
	double sin, cos;
};

// Of 2 pi u for u in [0, 1): u = q/4 + t with |t| <= 1/8.
DEVICE SinCos sin_cos_2pi(double u) {
	int q = (int)(4.0 * u + 0.5);
	double t = u - (double)q / 4.0;
	double z = t * t;
	double s = 0x1.921fb54442d18p+2 * t + t * (0x1.1a62633145c07p-52 + z * sin_s(z));
	double c = 1.0 - (0x1.3bd3cc9be45dep+4 * z + z * (0x1.692b71366cc04p-50 - z * cos_c(z)));
	switch (q & 3) {
	case 1: return {c, 0.0 - s};
	case 2: return {0.0 - s, -c};
	case 3: return {-c, s};
	}
	return {s, c};
}

// Two standard normal numbers of two words (Box and Muller 1958), to z.
DEVICE void box_muller(unsigned w, unsigned v, double* z) {
	double r = __dsqrt_rn(-2.0 * exact_log(((double)w + 0.5) * 0x1p-32));
	SinCos turn = sin_cos_2pi((double)v * 0x1p-32);
	z[0] = r * turn.cos;
	z[1] = r * turn.sin;
}
