//go:build gpu

package program

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// On a device the plan is timed by its own events, kernel by kernel, and what they take is held to what all take together.
func TestExplainTimesTheDevicesKernels(t *testing.T) {
	p := newTraining(t, openGPU(t), smallConfig(small, 2, 3, "shard"))
	loadStart(t, p.Parameters(), p.Load)
	makeSamples(6, small.Shape, 1).into(t, p)
	if _, _, err := p.Step(nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(0.01); err != nil {
		t.Fatal(err)
	}
	before := p.ReadFloat64("conv1.weight")
	var text strings.Builder
	if err := p.Explain(&text, 1); err != nil {
		t.Fatal(err)
	}
	for i, v := range p.ReadFloat64("conv1.weight") {
		if v != before[i] {
			t.Fatalf("weight %d was %v and is %v", i, before[i], v)
		}
	}
	_, kernels, found := strings.Cut(text.String(), "\nkernel ")
	if !found {
		t.Fatalf("there is no table of kernels:\n%s", text.String())
	}
	launches := 0
	for _, m := range regexp.MustCompile(`(?m)^([a-z_]+) +(\d+) +([0-9.]+) `).FindAllStringSubmatch(kernels, -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil || n < 1 {
			t.Errorf("the kernel %s is launched %s times", m[1], m[2])
		}
		if m[1] != "all" {
			launches += n
		} else if n != launches {
			t.Errorf("%d launches of the kernels, in all %d", launches, n)
		}
	}
	for _, want := range []string{"sgd", "running_average", "conv_forward", "view"} {
		if !strings.Contains(kernels, "\n"+want+" ") {
			t.Errorf("the table of kernels has no %s:\n%s", want, kernels)
		}
	}
	if !regexp.MustCompile(`(?m)^roofline: [0-9]+ GFLOP/s, [0-9.]+ GB/s, [0-9.]+ us a launch `).MatchString(text.String()) {
		t.Error("the roofline lacks a ceiling")
	}
	if want := "sum: the " + strconv.Itoa(launches) + " kernels one by one "; !strings.Contains(text.String(), want) {
		t.Errorf("there is no %q", want)
	}
}

// A step of the device's alone is timed only where nobody else has a part in it.
func TestDeviceTimeIsOfAWholeStep(t *testing.T) {
	p := newTraining(t, openGPU(t), smallConfig(small, 2, 3, "shard"))
	loadStart(t, p.Parameters(), p.Load)
	makeSamples(6, small.Shape, 1).into(t, p)
	if d, err := p.DeviceTime(3); err != nil || d <= 0 {
		t.Errorf("a step takes %v, %v", d, err)
	}
	if _, err := shareOf(t, openGPU(t), small, "global").DeviceTime(1); err == nil {
		t.Error("a share of a step was timed, without the others")
	}
}
