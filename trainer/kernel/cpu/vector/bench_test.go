//go:build unix

package vector

import (
	"fmt"
	"syscall"
	"testing"
	"unsafe"
)

// processor is the seconds of processor time that the process has used: on a shared machine the clock on the wall says little.
func processor() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// numbers are n small ones from a cache line's begin.
func numbers(n int) *float32 {
	all := make([]float32, n+Lanes)
	for i := range all {
		all[i] = float32(i%7)*0.25 - 0.7
	}
	skip := -int(uintptr(unsafe.Pointer(&all[0]))) / 4 & (Lanes - 1)
	return &all[skip]
}

// rate reports run's work in billions a second of processor time.
func rate(b *testing.B, work int, unit string, run func()) {
	run()
	start := processor()
	for b.Loop() {
		run()
	}
	b.ReportMetric(float64(b.N)*float64(work)/1e9/(processor()-start), unit)
}

const (
	positions = 36
	tiles     = 16 // of a call's products
)

func BenchmarkProduct(b *testing.B) {
	for _, set := range Sets() {
		for _, channels := range []int{16, 32, 64} {
			p := &Product{
				Positions: positions, Rows: tiles, Depth: channels, Cols: channels,
				LeftPosition: tiles*channels + Lanes, LeftRow: channels, RightPosition: channels * channels, OutPosition: tiles*channels + Lanes,
			}
			v, m := numbers(positions*p.LeftPosition), numbers(positions*p.OutPosition)
			u := numbers(positions * p.RightPosition)
			b.Run(fmt.Sprintf("multiply/%s/%d", set.Name, channels), func(b *testing.B) {
				rate(b, 2*positions*tiles*channels*channels, "GFLOP/s", func() { set.Multiply(p, v, u, m, nil, nil) })
			})
			p.Rows, p.Depth = channels, tiles
			p.RightPosition, p.OutPosition = tiles*channels+Lanes, channels*channels
			b.Run(fmt.Sprintf("accumulate/%s/%d", set.Name, channels), func(b *testing.B) {
				rate(b, 2*positions*tiles*channels*channels, "GFLOP/s", func() { set.Accumulate(p, v, m, u, nil, true) })
			})
		}
	}
}

// BenchmarkTransform counts the bytes that come and go.
func BenchmarkTransform(b *testing.B) {
	const (
		n        = 8
		row      = (4*n + 2) * Lanes
		position = n*Lanes + Lanes
		bytes    = 4 * Lanes * n
		taps     = 9
	)
	pixels, transformed, weights := numbers(6*row), numbers(positions*position), numbers(taps*Lanes*n)
	for _, set := range Sets() {
		for _, bench := range []struct {
			name  string
			bytes int
			run   func()
		}{
			{"InputTiles", bytes * (16 + positions), func() { set.InputTiles(pixels, row, transformed, position, Lanes, n) }},
			{"GradTiles", bytes * (16 + positions), func() { set.GradTiles(pixels, row, transformed, position, Lanes, n) }},
			{"OutputTiles", bytes * (16 + positions), func() { set.OutputTiles(transformed, position, Lanes, pixels, row, n) }},
			{"WeightTiles", bytes * (taps + positions), func() { set.WeightTiles(weights, taps*n, Lanes, false, taps, transformed, position, Lanes, n) }},
			{"WeightGradTiles", bytes * (taps + positions), func() { set.WeightGradTiles(transformed, position, weights, Lanes*n, n) }},
		} {
			b.Run(bench.name+"/"+set.Name, func(b *testing.B) { rate(b, bench.bytes, "GB/s", bench.run) })
		}
	}
}

// BenchmarkPass counts the bytes that come and go, of a row of pixels or as many numbers.
func BenchmarkPass(b *testing.B) {
	const (
		n     = 32
		count = n * Lanes
		bytes = 4 * count
	)
	var row [5]*float32
	for i := range row {
		row[i] = numbers(count)
	}
	a, c, d, acc := numbers(Lanes), numbers(Lanes), numbers(Lanes), numbers(2*4*Lanes)
	for _, set := range Sets() {
		for _, bench := range []struct {
			name  string
			moved int // numbers for each number
			run   func()
		}{
			{"Norm", 2, func() { set.Norm(row[0], row[1], a, c, n) }},
			{"NormReLU", 2, func() { set.NormReLU(row[0], row[1], a, c, n) }},
			{"NormAddReLU", 4, func() { set.NormAddReLU(row[0], row[1], row[2], row[3], a, c, n) }},
			{"NormGrad", 3, func() { set.NormGrad(row[0], row[1], row[2], a, c, d, n) }},
			{"Scale", 2, func() { set.Scale(row[0], row[1], a, n) }},
			{"Sums", 1, func() { set.Sums(row[0], a, acc, n) }},
			{"GradSums", 2, func() { set.GradSums(row[0], row[1], a, acc, n) }},
			{"NormReLUGradSums", 3, func() { set.NormReLUGradSums(row[0], row[1], row[2], a, c, d, acc, n) }},
			{"AddReLUGradSums", 5, func() { set.AddReLUGradSums(row[0], row[1], row[2], row[3], row[4], a, acc, n) }},
			{"Add", 3, func() { set.Add(row[0], row[1], row[2], count) }},
			{"ReLU", 2, func() { set.ReLU(row[0], row[1], count) }},
			{"ReLUGrad", 3, func() { set.ReLUGrad(row[0], row[1], row[2], count) }},
			{"SGD", 5, func() { set.SGD(row[0], row[1], row[2], count, 0.9, 1e-4, 1e-8) }},
			{"Average", 3, func() { set.Average(row[0], row[1], count, 0.5, 0.5, 1) }},
		} {
			b.Run(bench.name+"/"+set.Name, func(b *testing.B) { rate(b, bench.moved*bytes, "GB/s", bench.run) })
		}
	}
}
