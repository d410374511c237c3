//go:build unix

package program

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/dither-ml/dither/trainer/model"
)

// processor is the seconds of processor time that the process has used: on a shared machine the clock on the wall says little.
func processor() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkSquaredNorm gives the milliseconds, of processor time and of the wall's, that the squared gradient norms of an image's ten logits take.
func BenchmarkSquaredNorm(b *testing.B) {
	for _, net := range []string{"resnet20", "resnet56"} {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/threads=%d", net, threads), func(b *testing.B) { squaredNorm(b, net, threads) })
		}
	}
}

func squaredNorm(b *testing.B, net string, threads int) {
	const images = 16
	spec := model.Spec{Name: net, Shortcut: "A", Shape: model.Shape{Channels: 3, Height: 32, Width: 32, Classes: 10}}
	mean, std := normalised(spec.Channels)
	p, err := NewSquaredNorm(openCPU(b, threads), spec, images, mean, std, pad)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	loadStart(b, p.Parameters(), p.Load)
	pixels, norms := makeSamples(images, spec.Shape, 1).pixels, make([]float32, images*spec.Classes)
	start := processor()
	for b.Loop() {
		if err := p.SquaredNorms(pixels, images, norms); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((processor()-start)*1e3/float64(b.N*images), "cpu-ms/image")
	b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(b.N*images), "ms/image")
	b.ReportMetric(float64(p.MemoryBytes())/1e6, "MB")
}

// BenchmarkBuild gives the milliseconds after which a training program for another number of shards is there, with the state of the one before: what a trainer does when a generation begins.
func BenchmarkBuild(b *testing.B) {
	for _, net := range []string{"resnet20", "resnet56"} {
		b.Run(net, func(b *testing.B) {
			spec := model.Spec{Name: net, Shortcut: "A", Shape: model.Shape{Channels: 3, Height: 32, Width: 32, Classes: 10}}
			mean, std := normalised(spec.Channels)
			set := openCPU(b, 2)
			var before *Training
			for n := 2; b.Loop(); n++ {
				p, err := NewTraining(set, TrainingConfig{Model: spec, Groups: 1 + n%2, Images: 16, Batch: 64, Shards: 4, Loss: model.Loss{Quadratic: 1}, BatchNorm: "shard", Momentum: 0.9, Mean: mean, Std: std, Pad: pad})
				if err != nil {
					b.Fatal(err)
				}
				if before != nil {
					if err := p.CopyState(before); err != nil {
						b.Fatal(err)
					}
					before.Close()
				}
				before = p
			}
			b.ReportMetric(float64(before.MemoryBytes())/1e6, "MB")
		})
	}
}
