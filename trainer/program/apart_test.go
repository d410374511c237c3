package program

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/kerneltest"
)

func TestWorkApartHasTheSameBits(t *testing.T) {
	for _, batchNorm := range []string{"shard", "global"} {
		c := smallConfig(small, 5, 3, batchNorm)
		one, seen := train(t, func() kernel.Set { return openCPU(t, 1) }, c, []int{5}, 4)
		for _, eager := range kerneltest.Orders() {
			for _, owned := range [][]int{{5}, {2, 3}} {
				other, theirs := train(t, func() kernel.Set { return &kerneltest.Apart{Set: openCPU(t, 1), Eager: eager} }, c, owned, 4)
				what := fmt.Sprintf("%s, shards owned %v, eager %v", batchNorm, owned, eager)
				sameBits(t, what, other, one)
				sameBits(t, what, map[string][]float32{"losses and correct": theirs}, map[string][]float32{"losses and correct": seen})
			}
		}
	}
}

// trainAhead takes steps whose inputs are sent while the step before is under way; the second one fails after that, and is done again.
func trainAhead(t *testing.T, set kernel.Set, steps int) (map[string][]float32, []float32) {
	t.Helper()
	c := smallConfig(small, 3, 3, "shard")
	p := newTraining(t, set, c)
	loadStart(t, p.Parameters(), p.Load)
	input := func(k int) samples { return makeSamples(c.Batch, small.Shape, uint64(k)) }
	sent := -1
	send := func(k int) {
		in := input(k)
		to := p.Room()
		copy(to.Pixels, in.pixels)
		copy(to.Geometry, in.geometry)
		copy(to.Labels, in.labels)
		if err := p.Send(); err != nil {
			t.Fatal(err)
		}
		sent = k
	}
	k := 0
	p.Meanwhile(func() { send(k + 1) })
	var seen []float32
	for redone := false; k < steps; k++ {
		if sent != k {
			send(k)
		}
		if err := p.SendSoft(input(k).soft); err != nil {
			t.Fatal(err)
		}
		losses, correct, err := p.Step(nil)
		if err != nil {
			t.Fatal(err)
		}
		if k == 1 && !redone {
			redone = true
			k-- // nobody commits it
			continue
		}
		seen = append(append(seen, losses...), correct...)
		if err := p.Commit(0.05); err != nil {
			t.Fatal(err)
		}
	}
	return keptState(t, p), seen
}

func TestAnInputAheadDisturbsNothing(t *testing.T) {
	one, seen := trainAhead(t, openCPU(t, 1), 5)
	for _, eager := range kerneltest.Orders() {
		other, theirs := trainAhead(t, &kerneltest.Apart{Set: openCPU(t, 1), Eager: eager}, 5)
		what := fmt.Sprintf("eager %v", eager)
		sameBits(t, what, other, one)
		sameBits(t, what, map[string][]float32{"losses and correct": theirs}, map[string][]float32{"losses and correct": seen})
	}
}

// The double sees what it is there for: without the marks' order, the bits are others.
func TestWithoutMarksTheBitsAreOthers(t *testing.T) {
	_, seen := trainAhead(t, openCPU(t, 1), 5)
	for _, eager := range kerneltest.Orders()[1:3] { // where one runs ahead of the other
		_, theirs := trainAhead(t, &kerneltest.Apart{Set: openCPU(t, 1), Eager: eager, Deaf: true}, 5)
		if slices.Equal(seen, theirs) {
			t.Errorf("eager %v: marks that nothing waits for change nothing", eager)
		}
	}
}
