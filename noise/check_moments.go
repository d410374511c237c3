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

// worst is the estimate that is furthest off for what it is allowed.
type worst struct {
	off, allowed float64 // in standard errors
	detail       string
}

func (w *worst) look(off, allowed float64, format string, args ...any) {
	if w.detail == "" || off/allowed > w.off/w.allowed {
		*w = worst{off, allowed, fmt.Sprintf(format, args...) + fmt.Sprintf(": %.2f standard errors, %v allowed", off, allowed)}
	}
}

func (w *worst) ok() bool { return w.off <= w.allowed }

// fewest draws whose mean is near enough to normal, and whose variance well enough known, to be judged as a part.
const fewest = 100

// eachClass visits what was added to each class.
func (q *cube) eachClass(f func(class int, xs []float64)) {
	for class := range q.classes {
		var xs []float64
		for row := range rows {
			xs = append(xs, q.cell(row, class)...)
		}
		f(class, xs)
	}
}

// checkMean holds the noise to having no bias where it says so: over all, for each class and in each cell.
func (c *checker) checkMean() {
	var w worst
	look := func(xs []float64, allowed float64, format string, args ...any) {
		m := momentsOf(xs)
		z := off(max(0, math.Abs(m.mean)-c.rounding), math.Sqrt(max(m.second, c.promise.Variance)/m.n))
		w.look(z, allowed, "the mean of the %d numbers added to %s is %.4g", len(xs), fmt.Sprintf(format, args...), m.mean)
	}
	look(c.added.at, standardErrors, "all logits")
	c.added.eachClass(func(class int, xs []float64) {
		if len(xs) >= fewest {
			look(xs, standardErrorsWorst, "class %d", class)
		}
	})
	c.added.eachCell(func(row, class int, xs []float64) {
		if len(xs) >= fewest {
			look(xs, standardErrorsWorst, "class %d of the logits %.4v", class, c.row(row))
		}
	})
	if !c.promise.Unbiased {
		c.add("unbiased", true, w.off, "not claimed; %s", w.detail)
		return
	}
	c.add("unbiased", w.ok(), w.off, "%s", w.detail)
}

// checkScale holds the variance to the one claimed, over all and for each class. Beside the standard errors of the variance it may be off by what
// float32's rounding does to the noise, and by the square of those of the mean.
func (c *checker) checkScale() {
	claimed := c.promise.Variance
	if claimed < 0 {
		c.add("scale", true, 0, "said to depend on the logits; the variance over all of them is %.5g", momentsOf(c.added.at).second)
		return
	}
	var w worst
	look := func(xs []float64, allowed float64, of string) {
		m := momentsOf(xs)
		beside := c.rounding*(2*math.Sqrt(claimed)+c.rounding) + allowed*allowed*claimed/m.n
		z := off(max(0, math.Abs(m.second-claimed)-beside), math.Sqrt(max(0, m.fourth-m.second*m.second)/m.n))
		w.look(z, allowed, "variance %.5g is claimed, and %.5g found among %d numbers added to %s", claimed, m.second, len(xs), of)
	}
	look(c.added.at, standardErrors, "all logits")
	c.added.eachClass(func(class int, xs []float64) {
		if len(xs) >= 4*fewest {
			look(xs, standardErrorsWorst, fmt.Sprintf("class %d", class))
		}
	})
	c.add("scale", w.ok(), w.off, "%s", w.detail)
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
	var w worst
	var pulled, expected, variance, reachAll float64 // the cells' shifts, each weighed by the one expected, in one sum
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
		found := momentsOf(xs).mean
		own := max(0, square-mean*mean)
		w.look(offEq21(found-mean, own/n, reach/n), standardErrorsWorst, "class %d of the logits %.4v moves by %.5g, and Eq. 21 with p=%v says %.5g (n=%d)",
			class, y, found, p, mean, len(xs))
		pulled += mean * found
		expected += mean * mean
		variance += mean * mean * own / n
		reachAll = max(reachAll, math.Abs(mean)*reach/n)
	})
	if expected > 0 {
		w.look(offEq21(pulled-expected, variance, reachAll), standardErrors, "the logits move by %.5g times what Eq. 21 with p=%v says", pulled/expected, p)
	}
	c.add("eq21", w.ok(), w.off, "%s", w.detail)
}

// offEq21 is how many standard errors difference is, where its variance is known and no single draw weighs more than reach; what the sums round is
// none. The standard error is widened by Bernstein's term.
func offEq21(difference, variance, reach float64) float64 {
	if math.Abs(difference) < 1e-9*reach {
		return 0
	}
	return off(difference, math.Sqrt(variance)+reach*standardErrors/3)
}
