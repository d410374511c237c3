// Package elementary is exp, log, sine and cosine whose bits are the same on every platform, and the normals made of them.
//
// Go's math package may use a processor's own instructions, and a compiler may fuse x*y + z into one rounding where the processor can: either
// changes the last bit. Here every function is a polynomial in float64 whose products are rounded where it is written (float64(x*y) forbids the
// fusing), and beside them only what IEEE 754 makes exact: additions, divisions, square roots, powers of two. Each result is within 2 units
// in the last place of the true value. Coefficients are Chebyshev fits made in 200 bits; the error of the fit stands beside each.
package elementary
