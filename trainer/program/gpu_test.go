//go:build gpu

package program

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cuda"
	"github.com/dither-ml/dither/trainer/model"
)

func openGPU(t testing.TB) kernel.Set {
	t.Helper()
	set, err := cuda.New(cuda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set
}

// The first step with each input is launched piece by piece, the others are graphs: all give the processor's bits.
func TestGPUReplaysHaveTheProcessorsBits(t *testing.T) {
	for _, batchNorm := range []string{"shard", "global"} {
		c := smallConfig(small, 3, 2, batchNorm)
		one, seen := train(t, func() kernel.Set { return openCPU(t, 1) }, c, []int{3}, 4)
		for _, owned := range [][]int{{3}, {2, 1}} {
			other, theirs := train(t, func() kernel.Set { return openGPU(t) }, c, owned, 4)
			what := fmt.Sprintf("%s, shards owned %v", batchNorm, owned)
			sameBits(t, what, other, one)
			sameBits(t, what, map[string][]float32{"losses and correct": theirs}, map[string][]float32{"losses and correct": seen})
		}
	}
}

// openGPUs gives n sets, on as many GPUs as there are.
func openGPUs(t testing.TB, n int) (sets []kernel.Set) {
	t.Helper()
	d, err := cuda.AskDriver()
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		set, err := cuda.New(cuda.Options{Device: i % len(d.Devices)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(set.Close)
		sets = append(sets, set)
	}
	return sets
}

func TestGPUATeamsIterationAllocatesNothing(t *testing.T) {
	for what, c := range map[string]int{"alone": 3, "with others": 2} {
		config := smallConfig(small, 3, 2, "shard")
		config.Groups = c
		p := teamOf(t, openGPUs(t, 2), config)
		loadStart(t, p.Parameters(), p.Load)
		in, with := makeSamples(c*config.Images, small.Shape, 1), &sink{}
		iteration := func() {
			in.intoTeam(t, p)
			if _, _, err := p.Step(with); err != nil {
				t.Fatal(err)
			}
			if err := p.Commit(1e-3); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			iteration()
		}
		if n := testing.AllocsPerRun(20, iteration); n > 0 {
			t.Errorf("%s: an iteration allocates %v times", what, n)
		}
	}
}

// reaching says whether each reaches every other: two sets on one GPU do not.
func reaching(t testing.TB, sets []kernel.Set) bool {
	t.Helper()
	for _, to := range sets {
		for _, from := range sets {
			reached, err := to.NewStream().(kernel.Neighbour).Reaches(from.NewStream())
			if err != nil {
				t.Fatal(err)
			}
			if !reached {
				return false
			}
		}
	}
	return true
}

// A trainer of several GPUs has the bits of a processor with every shard, alone and beside others.
func TestGPUATeamHasTheProcessorsBits(t *testing.T) {
	for _, batchNorm := range []string{"shard", "global"} {
		c := smallConfig(small, 5, 2, batchNorm)
		one, seen := train(t, func() kernel.Set { return openCPU(t, 1) }, c, []int{5}, 4)
		for _, try := range []struct {
			gpus  int
			owned []int
		}{{2, []int{5}}, {3, []int{5}}, {2, []int{3, 2}}} {
			sets := openGPUs(t, try.gpus)
			if linked, reach := teamOf(t, sets, c).links != nil, reaching(t, sets); linked != reach {
				t.Errorf("%d GPUs sum without the host: %v; all reach each other: %v", try.gpus, linked, reach)
			}
			other, theirs := trainTeams(t, func() []kernel.Set { return openGPUs(t, try.gpus) }, c, try.owned, 4)
			what := fmt.Sprintf("%s, %d GPUs a trainer, shards owned %v", batchNorm, try.gpus, try.owned)
			sameBits(t, what, other, one)
			sameBits(t, what, map[string][]float32{"losses and correct": theirs}, map[string][]float32{"losses and correct": seen})
		}
	}
}

func TestGPUAnInputAheadDisturbsNothing(t *testing.T) {
	one, seen := trainAhead(t, openCPU(t, 1), 5)
	other, theirs := trainAhead(t, openGPU(t), 5)
	sameBits(t, "ahead", other, one)
	sameBits(t, "ahead", map[string][]float32{"losses and correct": theirs}, map[string][]float32{"losses and correct": seen})
}

// steady is a trainer of some of 3 shards on a GPU, after the iterations that make its graphs, and what does one more. waits, if there is one, is called where the host is about to wait.
func steady(t testing.TB, spec model.Spec, owned int, c Collective, waits func()) (iteration func()) {
	config := smallConfig(spec, 3, 2, "shard")
	config.Groups = owned
	p := newTraining(t, openGPU(t), config)
	loadStart(t, p.Parameters(), p.Load)
	in := makeSamples(owned*config.Images, spec.Shape, 1)
	send := func() {
		to := p.Room()
		copy(to.Pixels, in.pixels)
		copy(to.Geometry, in.geometry)
		copy(to.Labels, in.labels)
		if err := p.Send(); err != nil {
			t.Fatal(err)
		}
		if waits != nil {
			waits()
		}
	}
	send()
	p.Meanwhile(send)
	iteration = func() {
		if err := p.SendSoft(in.soft); err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.Step(c); err != nil {
			t.Fatal(err)
		}
		if err := p.Commit(1e-3); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // each of two inputs
		iteration()
	}
	return iteration
}

func TestGPUAnIterationAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(20, steady(t, small, 3, nil, nil)); n > 0 {
		t.Errorf("alone: an iteration allocates %v times", n)
	}
	if n := testing.AllocsPerRun(20, steady(t, small, 2, &sink{}, nil)); n > 0 {
		t.Errorf("with others: an iteration allocates %v times", n)
	}
}

// An iteration of one trainer is so many calls of the driver's, of these kinds alone: graphs, copies of what changes, and events. None launches a kernel by itself, allocates or waits for all.
var iterationCalls = map[string]int{
	"cuGraphLaunch":        5, // samples, forward, losses, backward, update
	"cuMemcpyHtoDAsync_v2": 1, // soft labels
	"cuEventRecord":        3, // the input is there, the losses are ready, and here
	"cuStreamWaitEvent":    2, // the step for its input, the losses' copies for the losses
	"cuEventSynchronize":   1, // the host for the losses
	"cuCtxSetCurrent":      1, // in the thread that does
}

// What the driver is asked for more in a child that does more iterations is what they take.
func TestGPUAnIterationIsAFewCalls(t *testing.T) {
	const few, many = 2, 12
	before, after := driverCalls(t, few), driverCalls(t, many)
	for name, n := range after {
		if more, want := n-before[name], iterationCalls[name]*(many-few); more != want {
			t.Errorf("%s is called %d times in %d iterations, want %d", name, more, many-few, want)
		}
	}
	for name := range iterationCalls {
		if iterationCalls[name] > 0 && after[name] == 0 {
			t.Errorf("%s is not called", name)
		}
	}
}

// driverCalls are those of a child that does so many steady iterations.
func driverCalls(t *testing.T, iterations int) map[string]int {
	report := t.TempDir() + "/report"
	child := exec.Command(os.Args[0], "-test.run", "^TestGPUSteadyIterations$")
	child.Env = append(os.Environ(), "SOFTCUDA_REPORT="+report, fmt.Sprintf("DITHER_TEST_ITERATIONS=%d", iterations), "GOGC=off") // what is collected is given back to the driver
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Skip("this is a GPU: only softcuda counts its calls")
	}
	calls := map[string]int{}
	for line := range strings.Lines(string(text)) {
		var name string
		var n int
		if found, _ := fmt.Sscanf(line, "call %s %d", &name, &n); found == 2 {
			calls[name] += n
		}
	}
	return calls
}

// TestGPUSteadyIterations is the child.
func TestGPUSteadyIterations(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("DITHER_TEST_ITERATIONS"))
	if err != nil {
		t.Skip("run by TestGPUAnIterationIsAFewCalls")
	}
	iteration := steady(t, small, 3, nil, nil)
	for range n {
		iteration()
	}
}

// BenchmarkGPUHost gives the microseconds of an iteration in which the host works until it waits for the losses: what a device that is slow enough hides. With softcuda, SOFTCUDA_CHECK=late
// keeps what the device does out of it.
func BenchmarkGPUHost(b *testing.B) {
	for _, net := range []string{"resnet8", "resnet56"} {
		b.Run(net, func(b *testing.B) {
			var began time.Time
			var busy time.Duration
			iteration := steady(b, model.Spec{Name: net, Shortcut: "A", Shape: small.Shape}, 3, nil, func() { busy += time.Since(began) })
			busy = 0
			for b.Loop() {
				began = time.Now()
				iteration()
			}
			b.ReportMetric(float64(busy.Microseconds())/float64(b.N), "host-us/op")
		})
	}
}
