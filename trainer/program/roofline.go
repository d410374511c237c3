package program

import (
	"fmt"
	"slices"
	"time"

	"github.com/dither-ml/dither/trainer/kernel"
)

// Roofline is what a kernel set does at best on this machine (Williams, Waterman and Patterson, "Roofline", 2009).
type Roofline struct {
	GFLOPS float64
	GBs    float64       // to and from memory
	Launch time.Duration // the least time of any kernel, on a device; else 0
	of     string        // what GFLOPS and GBs were measured of
}

func (r Roofline) String() string {
	s := fmt.Sprintf("%.0f GFLOP/s, %.1f GB/s (%s)", r.GFLOPS, r.GBs, r.of)
	if r.Launch > 0 {
		s = fmt.Sprintf("%.0f GFLOP/s, %.1f GB/s, %.2f us a launch (%s)", r.GFLOPS, r.GBs, 1e6*r.Launch.Seconds(), r.of)
	}
	return s
}

// probes are large enough to keep every thread busy for a few milliseconds.
var (
	probeCompute = kernel.Op{Kind: kernel.ConvForward, Groups: 1, N: 64, C: 64, H: 8, W: 8, K: 64, R: 3, Stride: 1}
	probeMemory  = kernel.Elementwise(kernel.Add, 16<<20)
)

// Probe measures the roofline of a set: some tens of milliseconds, and on a processor 192 MiB of memory for as long. A processor's is that of a 3x3 convolution with its data in cache, counted as
// if computed directly, which most of a ResNet is made of, and of an addition far larger than the caches; a device says its own.
func Probe(set kernel.Set) (Roofline, error) {
	if d, ok := set.(kernel.Device); ok {
		c, err := d.Ceilings()
		if err != nil {
			return Roofline{}, fmt.Errorf("measuring what the device can do: %w", err)
		}
		return Roofline{c.FLOPS / 1e9, c.Bytes / 1e9, c.Launch, "of chains in registers; a copy far larger than the cache; an empty kernel"}, nil
	}
	conv := probeCompute
	conv.Block, conv.Half = set.Traits().Block, set.Traits().Half
	var r Roofline
	for _, p := range []struct {
		op   kernel.Op
		rate *float64
		work float64
	}{{conv, &r.GFLOPS, (&Step{Kind: Compute, Op: conv}).flops()}, {probeMemory, &r.GBs, (&Step{Kind: Compute, Op: probeMemory}).bytes()}} {
		m := newMachine(set)
		m.passes = nil
		step := &Step{Kind: Compute, Op: p.op, Outputs: 1}
		for _, a := range p.op.Args() {
			step.Args = append(step.Args, m.keep(a.Name, a.Type, a.Len()))
		}
		launches, err := m.build([]*Step{step})
		if err != nil {
			return r, fmt.Errorf("measuring what the machine can do: %w", err)
		}
		times, err := m.time(launches[0], 3)
		if err != nil {
			return r, err
		}
		*p.rate = p.work / times[0].Seconds() / 1e9
	}
	return r, nil
}

// seconds is the least time that so much can take under the roofline, in one launch.
func (r Roofline) seconds(flops, bytes float64) float64 {
	return max(flops/r.GFLOPS/1e9, bytes/r.GBs/1e9, r.Launch.Seconds())
}

// time runs each launch so many times, after once that is not timed, waiting for each, and gives the medians.
func (m *machine) time(launches []launch, runs int) ([]time.Duration, error) {
	all := make([][]time.Duration, len(launches))
	for run := range runs + 1 {
		for i := range launches {
			began := time.Now()
			m.launch(launches[i : i+1])
			if err := m.stream.Sync(); err != nil {
				return nil, err
			}
			if run > 0 {
				all[i] = append(all[i], time.Since(began))
			}
		}
	}
	medians := make([]time.Duration, len(launches))
	for i, times := range all {
		slices.Sort(times)
		medians[i] = times[len(times)/2]
	}
	return medians, nil
}

// FLOPs are the multiplications and additions of a step's convolutions and linear layers, as computed directly.
func (t *Training) FLOPs() float64 {
	sum := 0.0
	for _, s := range t.steps {
		sum += s.flops()
	}
	return sum
}

// flops are a step's multiplications and additions in convolutions and linear layers, as computed directly.
func (s *Step) flops() float64 {
	o := s.Op
	images := float64(o.Groups * o.N)
	switch o.Kind {
	case kernel.ConvForward, kernel.ConvDataGrad, kernel.ConvWeightGrad, kernel.ConvSquares:
		sum := 2 * images * float64(o.C*o.K*o.R*o.R) * float64(o.OutH()*o.OutW())
		if o.Beside == kernel.WeightGrad {
			sum *= 2
		}
		return sum
	case kernel.LinearForward, kernel.LinearDataGrad, kernel.LinearWeightGrad, kernel.LinearSquares:
		return 2 * images * float64(o.C*o.K)
	}
	return 0
}

// bytes are what a step's arguments take, each read or written once, what is added to twice.
func (s *Step) bytes() float64 {
	if s.Kind != Compute {
		return 0
	}
	sum := 0
	for _, a := range s.Op.Args() {
		sum += a.Bytes()
	}
	return float64(sum)
}
