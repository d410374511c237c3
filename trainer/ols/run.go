package ols

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// diverged is beyond what a number of a chain is taken for one: its square still is a number.
const diverged = 1e150

// Run runs all chains, each a setting on its data. What a chain does is a function of the setting, its data, Iterations and Start: threads only share the chains out. It refuses what
// cannot be run (ErrSetting, ErrSingular, ErrOptions), but not what is unstable: such a chain is marked Diverged, and the others go on. Where ctx ends, so does Run, with its error and
// without paths.
func Run(ctx context.Context, settings []Setting, data []*Data, o Options) ([]Path, error) {
	if err := o.check(settings, data); err != nil {
		return nil, err
	}
	r := &running{ctx: ctx, o: o}
	keeping := int64(0)
	for i := range settings {
		s := &settings[i]
		theory, err := s.Theory(data[i])
		if err != nil {
			return nil, fmt.Errorf("chain %d: %w", i+1, err)
		}
		c := &chain{engine: newEngine(s, data[i]), beta: make([]float64, s.dim()), end: o.Iterations, thin: o.thin()}
		copy(c.beta, o.Start)
		c.path.Thin, c.path.Burn = c.thin, o.Burn
		if o.Burn == 0 {
			c.path.Burn = AutomaticBurn(theory, o.Iterations)
		}
		c.moving = newMoving(theory.LeastSquares, o.Iterations, c.path.Burn, finiteOr(math.Max(theory.Mixing, theory.Mixing2), float64(o.Iterations)))
		r.chains = append(r.chains, c)
		keeping += o.kept() * int64(s.dim())
	}
	if keeping > 0 {
		all := make([]float64, keeping)
		preferHuge(all)
		for _, c := range r.chains {
			size := o.kept() * int64(len(c.beta))
			c.path.Beta, all = all[:size:size], all[size:]
		}
	}
	r.run()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	paths := make([]Path, len(r.chains))
	for i, c := range r.chains {
		paths[i] = c.finish()
	}
	return paths, nil
}

// AutomaticBurn is how many iterations it takes until what is left of the start is e^-40 of it, in mean and in second moments, which is below rounding; at most half the run.
func AutomaticBurn(t *Theory, iterations int64) int64 {
	burn := 40 * math.Max(t.Mixing, t.Mixing2)
	return int64(math.Ceil(math.Min(burn, float64(iterations/2))))
}

func finiteOr(v, otherwise float64) float64 {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return otherwise
	}
	return v
}

func (o *Options) thin() int { return max(1, o.Thin) }

// kept is how many iterates of a chain are kept.
func (o *Options) kept() int64 {
	if !o.Keep {
		return 0
	}
	return o.Iterations / int64(o.thin())
}

// Bytes is the memory that Run takes for these settings, their data not counted.
func (o Options) Bytes(settings []Setting) int64 {
	var floats int64
	for i := range settings {
		s := &settings[i]
		d := int64(s.dim())
		floats += d*o.kept() + (maxSegments+2)*(d+d*(d+1)/2) + int64(s.Batch) + int64(s.N)/8
		if s.packs() {
			floats += packedSamples*4 + chunk
		}
		floats += d * chunk
	}
	return 8 * floats
}

func (o *Options) check(settings []Setting, data []*Data) error {
	var wrong []error
	say := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("%w: "+format, append([]any{ErrOptions}, args...)...))
	}
	if o.Iterations < 1 || o.Iterations > maxIterations {
		say("there are %d iterations: give 1 to 2^47", o.Iterations)
	}
	if o.Thin < 0 {
		say("every %d-th iterate is to be kept: give 1 or more", o.Thin)
	}
	if o.Burn < 0 || o.Burn >= max(1, o.Iterations) {
		say("%d of %d iterations are to be left out: leave one at least", o.Burn, o.Iterations)
	}
	if o.Threads < 0 {
		say("there are to be %d threads: give 1 or more, or 0 for as many as there are", o.Threads)
	}
	if len(settings) != len(data) {
		say("there are %d settings, but data for %d", len(settings), len(data))
	}
	for i := range min(len(settings), len(data)) {
		if err := settings[i].checkData(data[i]); err != nil {
			wrong = append(wrong, fmt.Errorf("chain %d: %w", i+1, err))
		} else if o.Start != nil && len(o.Start) != settings[i].dim() {
			say("the start has %d numbers, and chain %d has %d dimensions", len(o.Start), i+1, settings[i].dim())
		}
	}
	for i, v := range o.Start {
		if math.IsNaN(v) || math.Abs(v) > diverged {
			say("number %d of the start is %v: give one of less than 1e150", i+1, v)
		}
	}
	return errors.Join(wrong...)
}

// checkData says what is wrong with a setting, or with data that is to be its.
func (s *Setting) checkData(data *Data) error {
	if err := s.Check(); err != nil {
		return err
	}
	if data == nil || len(data.X) != s.N || len(data.Y) != s.N {
		return fmt.Errorf("%w: N is %d, but there is data of another number", ErrSetting, s.N)
	}
	for i, x := range data.X {
		if len(x) != s.dim() {
			return fmt.Errorf("%w: Sigma has %d rows, but sample %d has %d numbers", ErrSetting, s.dim(), i+1, len(x))
		}
		for _, v := range append(x[:len(x):len(x)], data.Y[i]) {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("%w: sample %d has %v", ErrSetting, i+1, v)
			}
		}
	}
	return nil
}

// chain is a chain on its way. It belongs to one goroutine at a time.
type chain struct {
	engine  engine
	beta    []float64
	moving  *moving
	path    Path
	k, end  int64
	thin    int
	scratch []float64 // [chunk][d], where not every iterate is kept
}

// step goes on by a chunk, or what is left.
func (c *chain) step() {
	d := len(c.beta)
	n := int(min(chunk, c.end-c.k))
	var out []float64
	if c.path.Beta != nil && c.thin == 1 {
		out = c.path.Beta[c.k*int64(d) : (c.k+int64(n))*int64(d)]
	} else {
		if c.scratch == nil {
			c.scratch = make([]float64, chunk*d)
		}
		out = c.scratch[:n*d]
	}
	c.engine.advance(c.k, c.beta, out)
	c.took(out)
}

// took accounts for iterates that were made.
func (c *chain) took(out []float64) {
	d := len(c.beta)
	if !c.moving.add(c.k, out) {
		for i, v := range out {
			if !(math.Abs(v) <= diverged) {
				c.path.Diverged = true
				out = out[:(i/d+1)*d]
				copy(c.beta, out[len(out)-d:])
				break
			}
		}
	}
	if c.path.Beta != nil && c.thin > 1 {
		thin := int64(c.thin)
		for kept := c.k / thin; (kept+1)*thin <= c.k+int64(len(out)/d); kept++ {
			from := ((kept+1)*thin - c.k - 1) * int64(d)
			copy(c.path.Beta[kept*int64(d):(kept+1)*int64(d)], out[from:])
		}
	}
	c.k += int64(len(out) / d)
	if c.path.Diverged {
		c.end = c.k
	}
}

func (c *chain) finish() Path {
	p := c.path
	p.K, p.Last = c.k, c.beta
	if p.Beta != nil {
		p.Beta = p.Beta[:c.k/int64(c.thin)*int64(len(c.beta))]
	}
	if !p.Diverged {
		c.moving.into(&p, c.k)
	}
	return p
}

// running shares chains out to threads.
type running struct {
	ctx    context.Context
	o      Options
	chains []*chain
	next   atomic.Int64
	done   atomic.Int64

	mutex sync.Mutex // of told
	told  time.Time
}

func (r *running) run() {
	threads := r.o.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	var group sync.WaitGroup
	for range min(threads, len(r.chains)) {
		group.Go(func() {
			for {
				i := int(r.next.Add(1)) - 1
				if i >= len(r.chains) || !r.finish(r.chains[i]) {
					return
				}
			}
		})
	}
	group.Wait()
	r.tell(true)
}

// finish takes a chain to its end; false where ctx came first.
func (r *running) finish(c *chain) bool {
	const every = 64 // chunks between looks at the context and the clock
	for i, from := 1, c.k; c.k < c.end; i++ {
		c.step()
		if i%every == 0 || c.k >= c.end {
			r.done.Add(c.k - from)
			from = c.k
			if r.ctx.Err() != nil {
				return false
			}
			r.tell(false)
		}
	}
	return true
}

// tell reports progress, about ten times a second and at the end.
func (r *running) tell(end bool) {
	if r.o.Progress == nil || !(end || r.mutex.TryLock()) {
		return
	}
	if end {
		r.mutex.Lock()
	}
	defer r.mutex.Unlock()
	if now := time.Now(); end || now.Sub(r.told) > 100*time.Millisecond {
		r.told = now
		r.o.Progress(r.done.Load())
	}
}
