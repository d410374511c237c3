package chart

import (
	"math"

	"gonum.org/v1/plot/plotter"
)

// Ellipse is the closed curve (z - centre)' covariance^-1 (z - centre) = radius2. The covariance is symmetric and not negative; a singular one gives a segment.
func Ellipse(centre [2]float64, covariance [2][2]float64, radius2 float64) plotter.XYs {
	// Cholesky's factor takes the circle to the ellipse.
	a := math.Sqrt(max(covariance[0][0], 0))
	b := 0.0
	if a > 0 {
		b = covariance[1][0] / a
	}
	c := math.Sqrt(max(covariance[1][1]-b*b, 0))
	const points = 96
	r := math.Sqrt(radius2)
	out := make(plotter.XYs, points+1)
	for i := range out {
		sin, cos := math.Sincos(2 * math.Pi * float64(i%points) / points)
		out[i] = plotter.XY{X: centre[0] + r*a*cos, Y: centre[1] + r*(b*cos+c*sin)}
	}
	return out
}
