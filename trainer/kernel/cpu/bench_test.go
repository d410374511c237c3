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

// measure launches op, and gives the operations (a multiplication and an addition count two, a convolution as a direct one) in billions a second of processor time and of the wall's.
func measure(b *testing.B, threads int, op kernel.Op, operations int) {
	b.Helper()
	b.Run(fmt.Sprintf("%v/threads=%d", op, threads), func(b *testing.B) {
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
		total := float64(b.N) * float64(operations) / 1e9
		b.ReportMetric(total/(processor()-start), "GFLOP/cpu-s")
		b.ReportMetric(total/b.Elapsed().Seconds(), "GFLOP/s")
	})
}

var threadCounts = []int{1, 2}

// BenchmarkConv is the convolutions of ResNet-20, then shapes beside them: other windows and strides, channels that don't fill their blocks, batches that don't fill theirs.
func BenchmarkConv(b *testing.B) {
	for _, op := range []kernel.Op{
		{N: 64, C: 3, H: 32, W: 32, K: 16, R: 3, Stride: 1},
		{N: 64, C: 16, H: 32, W: 32, K: 16, R: 3, Stride: 1},
		{N: 64, C: 16, H: 32, W: 32, K: 32, R: 3, Stride: 2},
		{N: 64, C: 32, H: 16, W: 16, K: 32, R: 3, Stride: 1},
		{N: 64, C: 32, H: 16, W: 16, K: 64, R: 3, Stride: 2},
		{N: 64, C: 64, H: 8, W: 8, K: 64, R: 3, Stride: 1},
		{N: 64, C: 1, H: 28, W: 28, K: 32, R: 5, Stride: 1},
		{N: 64, C: 32, H: 14, W: 14, K: 64, R: 5, Stride: 1},
		{N: 64, C: 64, H: 16, W: 16, K: 64, R: 1, Stride: 1},
		{N: 64, C: 256, H: 8, W: 8, K: 64, R: 1, Stride: 1},
		{N: 64, C: 64, H: 16, W: 16, K: 128, R: 1, Stride: 2},
		{N: 64, C: 24, H: 24, W: 24, K: 24, R: 3, Stride: 1},
		{N: 64, C: 24, H: 24, W: 24, K: 24, R: 5, Stride: 1},
		{N: 64, C: 24, H: 24, W: 24, K: 48, R: 3, Stride: 2},
		{N: 64, C: 100, H: 12, W: 12, K: 100, R: 3, Stride: 1},
		{N: 64, C: 100, H: 12, W: 12, K: 100, R: 1, Stride: 1},
		{N: 7, C: 32, H: 16, W: 16, K: 64, R: 3, Stride: 2},
		{N: 50, C: 32, H: 16, W: 16, K: 64, R: 3, Stride: 2},
	} {
		for _, threads := range threadCounts {
			for _, kind := range []kernel.Kind{kernel.ConvForward, kernel.ConvDataGrad, kernel.ConvWeightGrad, kernel.ConvSquares} {
				op.Kind, op.Groups, op.Block = kind, 1, lanes
				measure(b, threads, op, 2*op.N*op.OutH()*op.OutW()*op.K*op.C*op.R*op.R)
			}
		}
	}
}

// BenchmarkLinear is the layers of multilayer perceptrons.
func BenchmarkLinear(b *testing.B) {
	for _, op := range []kernel.Op{
		{N: 64, C: 784, K: 512}, {N: 64, C: 512, K: 512}, {N: 64, C: 512, K: 10}, {N: 64, C: 100, K: 100}, {N: 7, C: 512, K: 512}, {N: 50, C: 512, K: 512}, {N: 512, C: 512, K: 512},
	} {
		for _, threads := range threadCounts {
			for _, kind := range []kernel.Kind{kernel.LinearForward, kernel.LinearDataGrad, kernel.LinearWeightGrad} {
				op.Kind, op.Groups, op.H, op.W = kind, 1, 1, 1
				measure(b, threads, op, 2*op.N*op.K*op.C)
			}
		}
	}
}

// BenchmarkMove gives the bytes that come and go, in billions a second of processor time, of what computes next to nothing.
func BenchmarkMove(b *testing.B) {
	for _, op := range []kernel.Op{
		{Kind: kernel.View, C: 3, H: 32, W: 32, Pad: 4}, {Kind: kernel.View, C: 1, H: 28, W: 28},
		{Kind: kernel.ShortcutForward, C: 16, H: 32, W: 32, K: 32, Stride: 2}, {Kind: kernel.ShortcutGrad, C: 16, H: 32, W: 32, K: 32, Stride: 2},
		{Kind: kernel.ShortcutForward, C: 32, H: 16, W: 16, K: 64, Stride: 2}, {Kind: kernel.ShortcutGrad, C: 32, H: 16, W: 16, K: 64, Stride: 2},
		{Kind: kernel.ShortcutForward, C: 24, H: 16, W: 16, K: 50, Stride: 2}, {Kind: kernel.ShortcutGrad, C: 24, H: 16, W: 16, K: 50, Stride: 2},
		{Kind: kernel.PoolForward, C: 64, H: 8, W: 8}, {Kind: kernel.PoolGrad, C: 64, H: 8, W: 8},
		{Kind: kernel.Flatten, C: 1, H: 28, W: 28}, {Kind: kernel.Unflatten, C: 1, H: 28, W: 28},
		{Kind: kernel.Flatten, C: 64, H: 8, W: 8}, {Kind: kernel.Unflatten, C: 64, H: 8, W: 8},
	} {
		op.Groups, op.N, op.Block = 1, 64, lanes
		bytes := 0
		for _, a := range op.Args() {
			bytes += a.Len() * map[kernel.Type]int{kernel.Real: 4, kernel.Byte: 1, kernel.Int: 4}[a.Type]
		}
		b.Run(op.String(), func(b *testing.B) {
			set, err := New(Options{Threads: 1})
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
			b.ReportMetric(float64(b.N)*float64(bytes)/1e9/(processor()-start), "GB/cpu-s")
		})
	}
}
