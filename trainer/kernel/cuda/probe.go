//go:build gpu

package cuda

import (
	"fmt"
	"time"

	"gorgonia.org/cu"

	"github.com/dither-ml/dither/trainer/kernel"
)

const (
	probeChains  = 8  // of a thread of src/probe.cu
	probeBlocks  = 16 // of blockThreads threads, of a multiprocessor: all that it holds
	probeCaches  = 4  // times the cache is what the copy reads, and as much it writes
	probeRuns    = 5
	probeRepeats = 200 // launches that are recorded to time the empty one
)

// Ceilings implements kernel.Device.
func (s *set) Ceilings() (c kernel.Ceilings, err error) {
	q := s.device.newStream()
	if c.Bytes, err = q.bandwidth(); err != nil {
		return c, err
	}
	threads := blockThreads
	err = s.device.call(func() error {
		n, err := s.device.attribute(cu.MultiprocessorCount)
		threads *= n * probeBlocks
		return err
	})
	if err != nil {
		return c, err
	}
	memory, err := s.Alloc(kernel.Real, threads)
	if err != nil {
		return c, err
	}
	probe, link := "probe_fma", 2. // of a thread, FLOPs of a link of a chain
	if s.half {
		probe, link = "probe_tensor", 2*16*8*16/32
	}
	// Rounds are doubled until their time is well above what a launch takes, whatever computes them.
	for rounds := 4; ; rounds *= 2 {
		t, err := s.chains(q, probe, memory, threads, rounds, 1)
		if err != nil {
			return c, err
		}
		if c.FLOPS = link * probeChains * float64(rounds) * float64(threads) / t.Seconds(); t > 2*time.Millisecond {
			break
		}
	}
	empty, err := s.chains(q, "probe_fma", memory, 1, 0, probeRepeats)
	c.Launch = empty / probeRepeats
	return c, err
}

// chains is the time of so many launches of a probe, one after the other.
func (s *set) chains(q *stream, probe string, memory kernel.Memory, threads, rounds, launches int) (time.Duration, error) {
	k := &prepared{args: []kernel.Arg{{Name: "y", Type: kernel.Real, Access: kernel.Out, Part: threads, Parts: 1, Stride: threads}}, device: s.device}
	k.add(probe, threads, k.arg(0), threads, rounds)
	if err := k.finish(); err != nil {
		return 0, err
	}
	times, err := q.Time(probeRuns, func() {
		for range launches {
			k.Launch(q, []kernel.Memory{memory})
		}
	})
	if err != nil {
		return 0, err
	}
	return times[0], nil
}

// bandwidth is the bytes that a copy reads and writes a second, at best.
func (s *stream) bandwidth() (rate float64, err error) {
	d := s.device
	var from, to cu.DevicePtr
	var bytes int64
	err = d.call(func() error {
		cache, err := d.attribute(cu.L2CacheSize)
		if err != nil {
			return err
		}
		bytes = probeCaches * int64(max(cache, 1<<20))
		for _, p := range []*cu.DevicePtr{&from, &to} {
			if *p, err = cu.MemAlloc(bytes); err != nil {
				return d.full(bytes, err)
			}
			if err = cu.MemsetD8(*p, 0, bytes); err != nil {
				return err
			}
		}
		return cu.Synchronize()
	})
	if err == nil {
		var times []time.Duration
		times, err = s.timed(probeRuns, func() error { return cu.MemcpyDtoDAsync(to, from, bytes, s.queue) })
		if err == nil {
			rate = 2 * float64(bytes) / times[0].Seconds()
		}
	}
	d.enqueue(func() error {
		for _, p := range []cu.DevicePtr{from, to} {
			if p != 0 {
				if err := cu.MemFree(p); err != nil {
					return err
				}
			}
		}
		return nil
	}, "giving the probe's memory back")
	if err != nil {
		return 0, fmt.Errorf("%v: measuring how fast it copies: %w", d, err)
	}
	return rate, nil
}

// attribute is one of the device's, for the owner.
func (d *device) attribute(a cu.DeviceAttribute) (int, error) {
	gpu, err := cu.GetDevice(d.number)
	if err != nil {
		return 0, err
	}
	return gpu.Attribute(a)
}
