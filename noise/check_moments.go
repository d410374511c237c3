package noise

import (
	"fmt"
	"math"
	"slices"
)

// cube is what a noise added, [iterations][samples][classes].
type cube struct {
	iterations, samples, classes int
	at                           []float64
}

func newCube(iterations, samples, classes int) *cube {
	return &cube{iterations, samples, classes, make([]float64, iterations*samples*classes)}
}

// moments of a set of numbers.
type moments struct {
	n, mean        float64
	second, fourth float64 // about the mean
}

func momentsOf(xs []float64) (m moments) {
	m.n = float64(len(xs))
	for _, x := range xs {
		m.mean += x / m.n
	}
	for _, x := range xs {
		d := (x - m.mean) * (x - m.mean)
		m.second += d / m.n
		m.fourth += d * d / m.n
	}
	return m
}

// off is how many standard errors difference is.
func off(difference, standardError float64) float64 {
	if difference == 0 {
		return 0
	}
	return math.Abs(difference) / standardError
}

// cell is what was added to one class of the samples that share a row of logits.
func (q *cube) cell(row, class int) []float64 {
	var xs []float64
	for k := range q.iterations {
		for i := row; i < q.samples; i += rows {
			xs = append(xs, q.at[(k*q.samples+i)*q.classes+class])
		}
	}
	return xs
}

// eachCell visits all rows and classes.
func (q *cube) eachCell(f func(row, class int, xs []float64)) {
	for row := range rows {
		for class := range q.classes {
			f(row, class, q.cell(row, class))
		}
	}
}

func (c *checker) row(row int) []float32 { return c.logits[row*c.o.Classes : (row+1)*c.o.Classes] }

// checkMean holds the noise to having no bias where it says so: in each cell, for each class, and over all.
func (c *checker) checkMean() {
	worst, where := -1.0, ""
	look := func(xs []float64, format string, args ...any) {
		m := momentsOf(xs)
		if z := off(max(0, math.Abs(m.mean)-c.rounding), math.Sqrt(m.second/m.n)); z > worst {
			worst, where = z, fmt.Sprintf(format, args...)+fmt.Sprintf(" the mean of what is added is %.4g, %.2f standard errors from 0 (n=%d)", m.mean, z, len(xs))
		}
	}
	c.added.eachCell(func(row, class int, xs []float64) { look(xs, "to class %d of the logits %.4v", class, c.row(row)) })
	for class := range c.o.Classes {
		var xs []float64
		for row := range rows {
			xs = append(xs, c.added.cell(row, class)...)
		}
		look(xs, "to class %d", class)
	}
	look(c.added.at, "to all logits")
	if !c.promise.Unbiased {
		c.add("unbiased", true, worst, "not claimed; %s", where)
		return
	}
	c.add("unbiased", worst <= standardErrors, worst, "%s", where)
}

// checkScale holds the variance to the one claimed, for each class and over all. Beside 4 standard errors of the variance it may be off by what
// float32's rounding does to the noise, and by the square of 4 standard errors of the mean.
func (c *checker) checkScale() {
	claimed := c.promise.Variance
	worst, where := -1.0, ""
	look := func(xs []float64, of string) {
		m := momentsOf(xs)
		allowed := c.rounding*(2*math.Sqrt(max(0, claimed))+c.rounding) + standardErrors*standardErrors*claimed/m.n
		beyond := max(0, math.Abs(m.second-claimed)-allowed)
		if z := off(beyond, math.Sqrt(max(0, m.fourth-m.second*m.second)/m.n)); z > worst {
			worst, where = z, fmt.Sprintf("variance %.5g claimed, %.5g found %s, %.2f standard errors apart (n=%d)", claimed, m.second, of, z, len(xs))
		}
	}
	if claimed < 0 {
		c.add("scale", true, 0, "said to depend on the logits; the variance found over all of them is %.5g", momentsOf(c.added.at).second)
		return
	}
	look(c.added.at, "over all logits")
	for class := range c.o.Classes {
		var xs []float64
		for row := range rows {
			xs = append(xs, c.added.cell(row, class)...)
		}
		look(xs, fmt.Sprintf("for class %d", class))
	}
	c.add("scale", worst <= standardErrors, worst, "%s", where)
}

// checkShape holds a noise to what its name says.
func (c *checker) checkShape() {
	switch {
	case c.promise.Name == Gaussian && math.Sqrt(c.promise.Variance) > 1e3*c.rounding:
		m := momentsOf(c.added.at)
		kurtosis := m.fourth / (m.second * m.second)
		z := off(kurtosis-3, math.Sqrt(24/m.n))
		c.add("normal", z <= standardErrors, z, "its name is gaussian: the fourth moment is %.4f squared variances, a normal one's is 3", kurtosis)
	case c.promise.Name == Symmetric:
		c.checkEquation21()
	}
}

// checkEquation21: every noisy logit is one of its sample's logits, and the mean is (1-p) y_l + p/(L-1) sum_{m != l} y_m. The tolerance is 4 standard
// errors of Eq. 21's own variance and Bernstein's term for swaps so rare that a mean of them is not yet normal.
func (c *checker) checkEquation21() {
	p := c.promise.Parameters["p"]
	for i, y := range c.noisy {
		of := i / c.o.Classes
		if !slices.Contains(c.logits[of*c.o.Classes:(of+1)*c.o.Classes], y) {
			c.add("eq21", false, 1, "its name is symmetric: the noisy logit of sample %d, class %d is %v, which is none of the sample's logits", c.samples[of], i%c.o.Classes, y)
			return
		}
	}
	worst, where := -1.0, ""
	c.added.eachCell(func(row, class int, xs []float64) {
		y := c.row(row)
		mean, square, reach := 0.0, 0.0, 0.0
		for _, other := range y {
			d := float64(other) - float64(y[class])
			mean += p / float64(len(y)-1) * d
			square += p / float64(len(y)-1) * d * d
			reach = max(reach, math.Abs(d))
		}
		n := float64(len(xs))
		unit := math.Sqrt(max(0, square-mean*mean)/n) + reach*standardErrors/3/n
		found := momentsOf(xs).mean
		difference := found - mean
		if math.Abs(difference) < 1e-9*reach { // the sums' own rounding
			difference = 0
		}
		if z := off(difference, unit); z > worst {
			worst, where = z, fmt.Sprintf("class %d of the logits %.4v moves by %.5g, Eq. 21 with p=%v says %.5g, %.2f standard errors apart (n=%d)",
				class, y, found, p, mean, z, len(xs))
		}
	})
	c.add("eq21", worst <= standardErrors, worst, "%s", where)
}
