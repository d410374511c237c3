package noise

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/dither-ml/dither/noise/elementary"
	"github.com/dither-ml/dither/noise/philox"
)

// CheckOptions says how much to ask of a noise; a zero field has its default.
type CheckOptions struct {
	Seed       uint64 // 1
	Samples    int    // per iteration, at least 32: 256
	Iterations int    // at least 8: 64
	Classes    int    // at least 2: 10
}

// CheckReport is what Check found.
type CheckReport struct {
	Noise      Description `json:"noise"`
	OK         bool        `json:"ok"` // all items are
	Items      []CheckItem `json:"items"`
	Seed       uint64      `json:"seed"`
	Samples    int         `json:"samples"`
	Iterations int         `json:"iterations"`
	Classes    int         `json:"classes"`
}

// CheckItem is one promise held against the draws.
type CheckItem struct {
	Name      string  `json:"name"`
	OK        bool    `json:"ok"`
	Detail    string  `json:"detail"`    // a sentence
	Statistic float64 `json:"statistic"` // deviation in standard errors, or a count of faults; at most 1e9
}

// What an estimate may be off, in standard errors: of honest noise, one estimate in 16,000 is more than 4 off, and the worst of 50 is more than 5
// off as rarely.
const (
	standardErrors      = 4
	standardErrorsWorst = 5
)

// Check is the conformance check: it asks n for Samples x Iterations draws and holds them to what n says of itself. Shape, finiteness, independence
// (between iterations, samples, classes and seeds) and the refusal of bad requests are asked of every noise; unbiasedness, scale and
// replayability where they are claimed; Eq. 21's mean and values of one that is called symmetric, normal tails of one that is called gaussian. An
// estimate over all draws may be 4 standard errors off, the worst of those over parts of them 5.
//
// An error says that nothing could be checked: n does not describe itself, the options make no sense (ErrRequest) or ctx is done.
func Check(ctx context.Context, n Noise, o CheckOptions) (*CheckReport, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	d, err := n.Describe(ctx)
	if err != nil {
		return nil, err
	}
	r := &CheckReport{Noise: d, Seed: o.Seed, Samples: o.Samples, Iterations: o.Iterations, Classes: o.Classes}
	c := &checker{ctx: ctx, noise: n, promise: d, o: o, report: r}
	c.run()
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	r.OK = !slices.ContainsFunc(r.Items, func(i CheckItem) bool { return !i.OK })
	return r, nil
}

func (o CheckOptions) withDefaults() (CheckOptions, error) {
	for _, v := range []struct {
		field           *int
		name            string
		least, standard int
	}{{&o.Samples, "samples", 32, 256}, {&o.Iterations, "iterations", 8, 64}, {&o.Classes, "classes", 2, 10}} {
		if *v.field == 0 {
			*v.field = v.standard
		}
		if *v.field < v.least {
			return o, fmt.Errorf("%w: a check with %d %s: give at least %d", ErrRequest, *v.field, v.name, v.least)
		}
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	return o, nil
}

// checker is one run of Check.
type checker struct {
	ctx     context.Context
	noise   Noise
	promise Description
	o       CheckOptions
	report  *CheckReport

	samples []uint32  // [Samples]
	logits  []float32 // [Samples][Classes]; sample i has row i%rows
	added   *cube     // what the noise added, at iterations 1...
	again   *cube     // likewise with another seed
	noisy   []float32 // [Samples][Classes], the answers at iteration 1

	rounding float64 // a unit in the last place of the largest logit: noise smaller than it may be lost
}

// rows is how many different rows of logits there are: a noise may depend on them.
const rows = 4

func (c *checker) add(name string, ok bool, statistic float64, format string, args ...any) {
	if !(math.Abs(statistic) < 1e9) { // infinities and NaN are no JSON
		statistic = 1e9
	}
	c.report.Items = append(c.report.Items, CheckItem{name, ok, fmt.Sprintf(format, args...), statistic})
}

func (c *checker) run() {
	c.prepare()
	if !c.draw() {
		return
	}
	c.checkMean()
	c.checkScale()
	c.checkShape()
	c.checkIndependence()
	c.checkReplay()
	c.checkRefusals()
}

// prepare makes the logits: all equal; a ramp; one far above the rest, as a trained teacher's; and normal ones.
func (c *checker) prepare() {
	classes := c.o.Classes
	c.samples = make([]uint32, c.o.Samples)
	c.logits = make([]float32, c.o.Samples*classes)
	for i := range c.samples {
		c.samples[i] = uint32(i)
		for l := range classes {
			y := 0.0
			switch i % rows {
			case 1:
				y = float64(l) - float64(classes-1)/2
			case 2:
				y = -1
				if l == 3%classes {
					y = 12
				}
			case 3:
				y = 3 * elementary.Normals(philox.At(1, philox.Gaussian, 0, 0, uint32(l)))[0]
			}
			c.logits[i*classes+l] = float32(y)
			c.rounding = max(c.rounding, math.Abs(y)*0x1p-23)
		}
	}
}

// perturb asks for the noisy logits of the samples at these places of c.samples.
func (c *checker) perturb(seed uint64, iteration uint32, places []int) ([]float32, error) {
	classes := c.o.Classes
	samples := make([]uint32, len(places))
	logits := make([]float32, 0, len(places)*classes)
	for i, at := range places {
		samples[i] = c.samples[at]
		logits = append(logits, c.logits[at*classes:(at+1)*classes]...)
	}
	out := make([]float32, len(logits))
	if err := c.noise.Perturb(c.ctx, seed, iteration, samples, logits, out); err != nil {
		return nil, err
	}
	if i := firstNotFinite(out); i >= 0 {
		return nil, fmt.Errorf("iteration %d, sample %d, class %d: the noisy logit is %v", iteration, samples[i/classes], i%classes, out[i])
	}
	return out, nil
}

func places(from, to int) []int {
	p := make([]int, 0, to-from)
	for i := from; i < to; i++ {
		p = append(p, i)
	}
	return p
}

// draw fills the cubes; without answers there is nothing else to check.
func (c *checker) draw() bool {
	fill := func(seed uint64, iterations int) *cube {
		q := newCube(iterations, c.o.Samples, c.o.Classes)
		for k := range iterations {
			out, err := c.perturb(seed, uint32(k+1), places(0, c.o.Samples))
			if err != nil {
				c.add("answers", false, 1, "%v", err)
				return nil
			}
			if c.noisy == nil {
				c.noisy = out
			}
			for i, y := range out {
				q.at[k*len(out)+i] = float64(y) - float64(c.logits[i])
			}
		}
		return q
	}
	if c.added = fill(c.o.Seed, c.o.Iterations); c.added == nil {
		return false
	}
	if c.again = fill(c.o.Seed+1, min(c.o.Iterations, 8)); c.again == nil {
		return false
	}
	// One sample alone, the greatest index, and iteration 0, which stands for a draw made once a run.
	row, out := c.logits[c.o.Classes:2*c.o.Classes], make([]float32, c.o.Classes)
	if err := c.noise.Perturb(c.ctx, c.o.Seed, 0, []uint32{math.MaxUint32}, row, out); err != nil {
		c.add("answers", false, 1, "%v", err)
		return false
	}
	c.add("answers", true, 0, "%d iterations of %d samples, each of the right shape and finite", c.o.Iterations, c.o.Samples)
	return true
}
