package program

import (
	"errors"
	"slices"
	"time"

	"github.com/dither-ml/dither/trainer/kernel"
)

// costs are what the steps of an iteration take, as measured; medians.
type costs struct {
	roof  Roofline
	steps []*Step
	times []time.Duration // of each step alone
	whole time.Duration   // of all, one after the other; on a device as it keeps time
	wall  time.Duration   // the same by the host's clock, from the first launch until it knows that all is done
	parts []portion       // nil where steps are not several kernels of a device's
}

// portion is all launches that one kernel of the device's has in one op, together.
type portion struct {
	name         string
	launches     int
	time         time.Duration
	flops, bytes float64
}

func (t *Training) measure(runs int) (c *costs, err error) {
	m := t.machine
	c = &costs{steps: slices.Concat(t.steps, t.applying)}
	if c.roof, err = Probe(m.set); err != nil {
		return nil, err
	}
	t.setRate(0)
	launches, err := t.iteration()
	if err != nil {
		return nil, err
	}
	if c.wall, err = m.wall(launches, runs); err != nil {
		return nil, err
	}
	timer, device := m.stream.(kernel.Timer)
	if !device {
		c.whole = c.wall
		c.times, err = m.time(launches, runs)
		return c, err
	}
	if c.whole, err = t.DeviceTime(runs); err != nil {
		return nil, err
	}
	for i := range launches {
		d, err := single(timer, runs, func() { m.launch(launches[i : i+1]) })
		if err != nil {
			return nil, err
		}
		c.times = append(c.times, d)
	}
	return c, c.divide(m, timer, launches, runs)
}

// iteration is the launches of a step and its commit, of a trainer that owns every shard.
func (t *Training) iteration() ([]launch, error) {
	launches := slices.Concat(t.launches, t.commits)
	if slices.ContainsFunc(launches, func(l launch) bool { return l.kind != Compute }) {
		return nil, errNoCollective
	}
	return launches, nil
}

var errNoTimer = errors.New("the kernel set has no device that keeps time")

// DeviceTime is what the launches of an iteration, the commit's too, take on the device itself, where the host has them ready: the median of runs, of a trainer that owns every
// shard and has its Input. They change parameters, momentum and running statistics, as so many commits of the last Step.
func (t *Training) DeviceTime(runs int) (time.Duration, error) {
	timer, device := t.machine.stream.(kernel.Timer)
	if !device {
		return 0, errNoTimer
	}
	launches, err := t.iteration()
	if err != nil {
		return 0, err
	}
	times, err := timer.Time(runs, func() { t.machine.launch(launches) })
	if err != nil {
		return 0, err
	}
	return times[len(times)/2], nil
}

// divide times the device's kernels of which each op consists, once for all steps that have the op. The longest of them is taken to do an op's arithmetic.
func (c *costs) divide(m *machine, timer kernel.Timer, launches []launch, runs int) error {
	counts := map[kernel.Op]int{}
	for _, s := range c.steps {
		counts[s.Op]++
	}
	for i, s := range c.steps {
		n := counts[s.Op]
		delete(counts, s.Op)
		whole, parted := launches[i].kernel.(kernel.Parted)
		if n == 0 || !parted {
			continue
		}
		first := len(c.parts)
		longest := first
		for _, p := range whole.Parts() {
			d, err := single(timer, runs, func() { p.Kernel.Launch(m.stream, launches[i].args) })
			if err != nil {
				return err
			}
			c.parts = append(c.parts, portion{name: p.Name, launches: n, time: time.Duration(n) * d, bytes: float64(n * p.Bytes)})
			if c.parts[len(c.parts)-1].time > c.parts[longest].time {
				longest = len(c.parts) - 1
			}
		}
		c.parts[longest].flops = float64(n) * s.flops()
	}
	return nil
}

// enough is how long what is timed alone should take, so that what surrounds it does not count; mostRepeats is how often it may be repeated for that.
const (
	enough      = time.Millisecond
	mostRepeats = 64
)

// single is the time of work on the device: the median of runs, of as many in a row as take long enough.
func single(timer kernel.Timer, runs int, work func()) (time.Duration, error) {
	once, err := timer.Time(1, work)
	if err != nil {
		return 0, err
	}
	repeats := min(int(enough/max(once[0], 1))+1, mostRepeats)
	times, err := timer.Time(runs, func() {
		for range repeats {
			work()
		}
	})
	if err != nil {
		return 0, err
	}
	return max(times[len(times)/2]/time.Duration(repeats), 1), nil
}

// wall runs all launches so many times, after those in which a recording comes to what it will be, and gives the median by the host's clock.
func (m *machine) wall(launches []launch, runs int) (time.Duration, error) {
	const before = 2
	work := m.record("an iteration", launches)
	var times []time.Duration
	for run := range before + runs {
		began := time.Now()
		work.Replay()
		if err := m.stream.Sync(); err != nil {
			return 0, err
		}
		if run >= before {
			times = append(times, time.Since(began))
		}
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}
