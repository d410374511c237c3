package noise

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// centred is q less the mean of each cell, so that what is the same for a row and class is no dependence.
func (q *cube) centred() *cube {
	r := newCube(q.iterations, q.samples, q.classes)
	copy(r.at, q.at)
	means := make([]float64, rows*q.classes)
	q.eachCell(func(row, class int, xs []float64) { means[row*q.classes+class] = momentsOf(xs).mean })
	for i := range r.at {
		r.at[i] -= means[i/q.classes%q.samples%rows*q.classes+i%q.classes]
	}
	return r
}

// dependence is how far the mean product of a and b is from 0, in standard errors, and their correlation.
func dependence(a, b []float64) (z, correlation float64) {
	products := make([]float64, len(a))
	for i := range a {
		products[i] = a[i] * b[i]
	}
	m := momentsOf(products)
	z = off(m.mean, math.Sqrt(m.second/m.n))
	if scale := math.Sqrt(squares(a) * squares(b)); scale > 0 {
		correlation = m.mean * m.n / scale
	}
	return z, correlation
}

func squares(xs []float64) (s float64) {
	for _, x := range xs {
		s += x * x
	}
	return s
}

// checkIndependence correlates what was added with its neighbour: the next iteration, the next sample, the next class, the next seed.
func (c *checker) checkIndependence() {
	q, other := c.added.centred(), c.again.centred()
	iteration, class := q.samples*q.classes, q.classes
	var left, right, near, next []float64
	for i := range q.at {
		if i/class%q.samples < q.samples-1 {
			left, right = append(left, q.at[i]), append(right, q.at[i+class])
		}
		if i%class < class-1 {
			near, next = append(near, q.at[i]), append(next, q.at[i+1])
		}
	}
	worst, ok := 0.0, true
	var found []string
	look := func(between string, a, b []float64) {
		z, r := dependence(a, b)
		worst, ok = max(worst, z), ok && z <= standardErrors
		found = append(found, fmt.Sprintf("%s %.4f (%.2f standard errors)", between, r, z))
	}
	look("iterations", q.at[:len(q.at)-iteration], q.at[iteration:])
	look("samples", left, right)
	look("classes", near, next)
	look("seeds", q.at[:len(other.at)], other.at)
	c.add("independent", ok, worst, "correlation between neighbouring %s", strings.Join(found, ", "))
}

// checkReplay asks again: the same, in another order, in other batches, alone, and a sample twice in one batch.
func (c *checker) checkReplay() {
	if !c.promise.Replayable {
		c.add("replayable", true, 0, "not claimed: whoever uses it must keep its answers")
		return
	}
	n, classes := c.o.Samples, c.o.Classes
	backwards := places(0, n)
	slices.Reverse(backwards)
	twice := append(places(0, 3), 1, 1)
	questions := [][]int{backwards, places(0, n/3), places(n/3, n), places(0, n), places(n-1, n), places(0, 1), twice}
	asked := 0
	for _, k := range []int{min(c.o.Iterations, 3) - 1, 0, c.o.Iterations - 1} {
		for _, q := range questions {
			out, err := c.perturb(c.o.Seed, uint32(k+1), q)
			if err != nil {
				c.add("replayable", false, 1, "%v", err)
				return
			}
			for i, y := range out {
				at, l := q[i/classes], i%classes
				want := c.added.at[(k*n+at)*classes+l]
				if got := float64(y) - float64(c.logits[at*classes+l]); got != want {
					c.add("replayable", false, 1, "iteration %d, sample %d, class %d: %v was added at first, and %v when asked again in a batch of %d",
						k+1, c.samples[at], l, want, got, len(q))
					return
				}
			}
			asked++
		}
	}
	c.add("replayable", true, 0, "%d questions asked again, in other orders and batches, had the same answers", asked)
}

// asker is a noise that can pass on questions that it would refuse itself.
type asker interface {
	ask(ctx context.Context, q *ditherv1.PerturbRequest) error
}

// checkRefusals asks what no noise can answer. A service must say INVALID_ARGUMENT, any other noise ErrRequest.
func (c *checker) checkRefusals() {
	if s, ok := c.noise.(asker); ok {
		c.refusals(func(q *ditherv1.PerturbRequest) error { return s.ask(c.ctx, q) }, "INVALID_ARGUMENT",
			func(err error) bool { return status.Code(err) == codes.InvalidArgument }, badQuestions())
		return
	}
	nan := float32(math.NaN())
	c.refusals(func(q *ditherv1.PerturbRequest) error {
		logits := make([]float32, len(q.GetLogits().GetData())/4)
		unpack(logits, q.GetLogits())
		return c.noise.Perturb(c.ctx, 1, 1, q.GetSamples(), logits, make([]float32, len(logits)))
	}, "ErrRequest", func(err error) bool { return errors.Is(err, ErrRequest) }, []badQuestion{
		{"5 logits for 2 samples", newTensor(1, 5, make([]float32, 5))},
		{"a NaN", newTensor(2, 2, []float32{0, 1, nan, 2})},
		{"no logits", newTensor(2, 0, nil)},
	})
}

type badQuestion struct {
	what   string
	logits *ditherv1.Tensor
}

// badQuestions are about 2 samples each.
func badQuestions() []badQuestion {
	change := func(f func(*ditherv1.Tensor)) *ditherv1.Tensor {
		t := newTensor(2, 3, make([]float32, 6))
		f(t)
		return t
	}
	return []badQuestion{
		{"no logits", nil},
		{"3 rows for 2 samples", newTensor(3, 3, make([]float32, 9))},
		{"a shape of one dimension", change(func(t *ditherv1.Tensor) { t.Shape = []int64{6} })},
		{"fewer bytes than the shape says", change(func(t *ditherv1.Tensor) { t.Data = t.Data[:20] })},
		{"logits of type F64", change(func(t *ditherv1.Tensor) { t.Dtype = ditherv1.ElementType_ELEMENT_TYPE_F64; t.Data = make([]byte, 48) })},
		{"a NaN", newTensor(2, 3, []float32{0, 1, 2, float32(math.NaN()), 4, 5})},
	}
}

func (c *checker) refusals(ask func(*ditherv1.PerturbRequest) error, with string, right func(error) bool, questions []badQuestion) {
	faults := 0
	detail := fmt.Sprintf("%d bad requests refused with %s", len(questions), with)
	for _, q := range questions {
		err := ask(&ditherv1.PerturbRequest{Seed: 1, Iteration: 1, Samples: []uint32{0, 1}, Logits: q.logits})
		if err != nil && right(err) {
			continue
		}
		how := "answered as if nothing were wrong"
		if err != nil {
			how = fmt.Sprintf("refused otherwise (%v)", err)
		}
		if faults++; faults == 1 {
			detail = fmt.Sprintf("a request with %s was %s; it must be refused with %s", q.what, how, with)
		}
	}
	c.add("refuses", faults == 0, float64(faults), "%s", detail)
}
