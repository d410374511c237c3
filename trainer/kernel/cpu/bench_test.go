//go:build unix

package cpu

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
)

// processor is the seconds of processor time that the process has used: on a shared machine the clock on the wall says little.
func processor() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// launched prepares op and gives a launch of it on memory that holds small numbers.
func launched(b testing.TB, set kernel.Set, op kernel.Op) func() {
	k, err := set.Prepare(op)
	if err != nil {
		b.Fatal(err)
	}
	s := set.NewStream()
	var args []kernel.Memory
	alloc := func(kind kernel.Type, n int) kernel.Memory {
		m, err := set.Alloc(kind, n)
		if err != nil {
			b.Fatal(err)
		}
		return m
	}
	for _, a := range op.Args() {
		m := alloc(a.Type, a.Len())
		for i, h := 0, s.Host(m); i < len(h); i++ {
			h[i] = float32(i%7)*0.25 - 0.7
		}
		args = append(args, m)
	}
	if n := k.Workspace(); n > 0 {
		args = append(args, alloc(kernel.Real, n))
	}
	return func() { k.Launch(s, args) }
}

// BenchmarkConv gives multiply-adds a second of processor time and of the wall's, in billions, of ResNet-20's convolutions.
func BenchmarkConv(b *testing.B) {
	shapes := []kernel.Op{
		{C: 3, H: 32, W: 32, K: 16, R: 3, Stride: 1},
		{C: 16, H: 32, W: 32, K: 16, R: 3, Stride: 1},
		{C: 16, H: 32, W: 32, K: 32, R: 3, Stride: 2},
		{C: 32, H: 16, W: 16, K: 32, R: 3, Stride: 1},
		{C: 64, H: 8, W: 8, K: 64, R: 3, Stride: 1},
	}
	for _, threads := range []int{1, 2} {
		for _, op := range shapes {
			for _, kind := range []kernel.Kind{kernel.ConvForward, kernel.ConvDataGrad, kernel.ConvWeightGrad, kernel.ConvSquares} {
				op.Kind, op.Groups, op.N = kind, 1, 64
				b.Run(fmt.Sprintf("%v/%dx%dx%d-%d-s%d/threads=%d", kind, op.C, op.H, op.W, op.K, op.Stride, threads), func(b *testing.B) {
					set, err := New(Options{Threads: threads})
					if err != nil {
						b.Fatal(err)
					}
					defer set.Close()
					launch := launched(b, set, op)
					launch()
					start := processor()
					for b.Loop() {
						launch()
					}
					macs := float64(b.N) * float64(op.Groups*op.N*op.OutH()*op.OutW()*op.K*op.C*op.R*op.R) / 1e9
					b.ReportMetric(macs/(processor()-start), "GMAC/cpu-s")
					b.ReportMetric(macs/b.Elapsed().Seconds(), "GMAC/s")
				})
			}
		}
	}
}
