package program

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/kerneltest"
	"github.com/dither-ml/dither/trainer/model"
)

// shareOf is the program of a trainer that owns the first two of three shards.
func shareOf(t testing.TB, set kernel.Set, spec model.Spec, batchNorm string) *Training {
	t.Helper()
	c := smallConfig(spec, 3, 3, batchNorm)
	c.Groups = 2
	p := newTraining(t, set, c)
	loadStart(t, p.Parameters(), p.Load)
	makeSamples(6, spec.Shape, 1).into(t, p)
	return p
}

// poisoner fills what a step leaves for dead with NaN, so that a step that still reads it shows.
type poisoner struct {
	dead [][]kernel.Memory // by step
	nan  []float32
}

func newPoisoner(steps []*Step) *poisoner {
	last, memory, longest := map[*Value]int{}, map[*Value]kernel.Memory{}, 0
	for i, s := range steps {
		for _, v := range s.values() {
			r := v.root()
			last[r] = i
			if v.of == nil {
				memory[r] = v.Memory
				longest = max(longest, v.Len)
			}
		}
	}
	p := &poisoner{dead: make([][]kernel.Memory, len(steps)), nan: make([]float32, longest)}
	for i := range p.nan {
		p.nan[i] = float32(math.NaN())
	}
	for v, i := range last {
		if v.planned && !v.lasts {
			p.dead[i] = append(p.dead[i], memory[v])
		}
	}
	return p
}

func TestNothingReadsMemoryThatIsGivenToAnother(t *testing.T) {
	half := model.Spec{Name: "resnet8", Shortcut: "B", Shape: small.Shape}
	for _, batchNorm := range []string{"shard", "global"} {
		for _, spec := range []model.Spec{small, {Name: "resnet14", Shortcut: "B", Shape: small.Shape}, {Name: "mlp", Shape: small.Shape}, half} {
			set := openCPU(t, 1)
			if spec == half {
				set = kerneltest.PretendHalf(t, true)
			}
			p := shareOf(t, set, spec, batchNorm)
			step := func() map[string][]float32 {
				w := newWorld(2) // two shards are enough of a run to sum
				losses, correct, err := p.Step(member{w, 0})
				if err != nil {
					t.Fatal(err)
				}
				got := map[string][]float32{"losses": append([]float32{}, losses...), "correct": append([]float32{}, correct...)}
				for id, v := range w.sums {
					got[fmt.Sprintf("sum %d", id)] = v
				}
				return got
			}
			want := step()
			poison := newPoisoner(p.steps)
			killed := 0
			plain := p.launches
			var poisoned []launch
			for i, l := range plain {
				poisoned = append(poisoned, l)
				for _, m := range poison.dead[i] {
					killed++
					poisoned = append(poisoned, launch{kind: Compute, kernel: filler{poison.nan}, args: []kernel.Memory{m}})
				}
			}
			p.rooms[0].acts = p.machine.cut("a poisoned step", poisoned, p.told)
			sameBits(t, batchNorm+" "+spec.Name, step(), want)
			if killed < 5 {
				t.Errorf("%s: only %d values were poisoned: the test sees nothing", spec.Name, killed)
			}
		}
	}
}

// filler is a kernel that writes given numbers over its argument.
type filler struct{ with []float32 }

func (filler) Workspace() int { return 0 }

func (f filler) Launch(s kernel.Stream, args []kernel.Memory) {
	s.Write(args[0], f.with[:args[0].Len()])
}

func TestValuesThatLiveTogetherDoNotOverlap(t *testing.T) {
	spec := model.Spec{Name: "resnet20", Shortcut: "A", Shape: small.Shape}
	for batchNorm, set := range map[string]kernel.Set{"shard": openCPU(t, 1), "global": openCPU(t, 1), "shard in half precision": kerneltest.PretendHalf(t, true)} {
		batchNorm, _, _ = strings.Cut(batchNorm, " ")
		p := shareOf(t, set, spec, batchNorm)
		arenas, totals, packed := map[kernel.Type]int{}, map[kernel.Type]int{}, 0
		values := lifetimes(p.steps)
		for i, v := range values {
			for _, o := range values[:i] {
				if v.kind == o.kind && v.first <= o.last && o.first <= v.last && v.offset < o.offset+o.Len && o.offset < v.offset+v.Len {
					t.Fatalf("%s: %s [%d, %d) in steps %d to %d lies over %s [%d, %d) in steps %d to %d", batchNorm,
						v.Name, v.offset, v.offset+v.Len, v.first, v.last, o.Name, o.offset, o.offset+o.Len, o.first, o.last)
				}
			}
			arenas[v.kind], totals[v.kind] = max(arenas[v.kind], v.offset+v.Len), totals[v.kind]+v.Len
			if v.Name == "packed weights" {
				packed = v.Len
			}
		}
		largest := kernel.Real // packed weights live for all of the step
		if set.Traits().Half {
			largest = kernel.Half
		}
		if arena, total := arenas[largest]-packed, totals[largest]-packed; arena*3 > total*2 {
			t.Errorf("%s: the arena of %d elements saves little of the %d that its values have", batchNorm, arena, total)
		}
	}
}

// sink is a collective that gives back the first shard and allocates nothing.
type sink struct{ shards [64][]float32 }

func (s *sink) Start(id uint32, shards [][]float32) { s.shards[id] = shards[0] }

func (s *sink) Wait(id uint32, sum []float32) error { copy(sum, s.shards[id]); return nil }

func TestAStepAllocatesNothing(t *testing.T) {
	for _, batchNorm := range []string{"shard", "global"} {
		p := shareOf(t, openCPU(t, 1), small, batchNorm)
		c := &sink{}
		in := makeSamples(6, small.Shape, 1)
		iteration := func() {
			if err := p.Input(in.pixels, in.geometry, in.labels, in.soft); err != nil {
				t.Fatal(err)
			}
			if _, _, err := p.Step(c); err != nil {
				t.Fatal(err)
			}
			if err := p.Commit(1e-3); err != nil {
				t.Fatal(err)
			}
		}
		iteration()
		if n := testing.AllocsPerRun(10, iteration); n > 0 {
			t.Errorf("%s: an iteration allocates %v times", batchNorm, n)
		}
	}
}

func TestExplainNamesEveryStep(t *testing.T) {
	p := shareOf(t, openCPU(t, 1), small, "global")
	var text strings.Builder
	if err := p.Explain(&text, 0); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"View", "ConvForward", "NormFinish", "start collective 0", "wait for collective 0", "ConvWeightGrad", "bucket 0", "relu layer1.0.relu2", fmt.Sprint(len(p.Steps()), " steps"), fmt.Sprint(p.Collectives(), " collectives")} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the plan does not say %q", want)
		}
	}
	if err := p.Explain(&text, 1); err == nil {
		t.Error("a share of a step was timed, without the others")
	}
	for _, s := range p.Steps() {
		if s.Op.Kind == kernel.ConvDataGrad && s.Op.C == small.Channels {
			t.Errorf("the gradient of the image is computed, which nobody reads: %v", s)
		}
	}
}

// tight is a set that has so many elements to give, and keeps what it is asked for.
type tight struct {
	kernel.Set
	free  int
	asked []int
}

func (s *tight) Alloc(kind kernel.Type, n int) (kernel.Memory, error) {
	s.asked = append(s.asked, n)
	if s.free -= n; s.free < 0 {
		return nil, errors.New("that is more than there is")
	}
	return s.Set.Alloc(kind, n)
}

func TestAProgramThatDoesNotFitFailsBeforeItAllocates(t *testing.T) {
	c := smallConfig(small, 2, 3, "shard")
	roomy := &tight{Set: openCPU(t, 1), free: 1 << 40}
	p := newTraining(t, roomy, c)
	if most := slices.Max(roomy.asked); roomy.asked[0] != most || int64(most)*4 > p.MemoryBytes() || int64(most)*4 < p.MemoryBytes()*9/10 {
		t.Errorf("a program of %d bytes asks for these numbers of elements: %v", p.MemoryBytes(), roomy.asked)
	}
	short := &tight{Set: roomy.Set, free: roomy.asked[0] - 1}
	_, err := NewTraining(short, c)
	need := fmt.Sprintf("needs %d MiB", roomy.asked[0]*4>>20)
	if err == nil || !strings.Contains(err.Error(), need) || !strings.Contains(err.Error(), "more than there is") || len(short.asked) != 1 {
		t.Errorf("a program that does not fit asked %d times and said: %v; want %q", len(short.asked), err, need)
	}
}

// Of half precision there are two arenas: whichever does not fit, the error says what both need.
func TestAProgramOfHalfPrecisionThatDoesNotFitSaysWhatItNeeds(t *testing.T) {
	c := smallConfig(small, 2, 24, "shard")
	roomy := &tight{Set: kerneltest.PretendHalf(t, true), free: 1 << 40}
	p := newTraining(t, roomy, c)
	reals, halves := roomy.asked[0], roomy.asked[1]
	if got, want := p.MemoryBytes(), int64(reals)*4+int64(halves)*2; got < want || got > want*6/5 {
		t.Errorf("a program of %d bytes has arenas of %d", got, want)
	}
	need := fmt.Sprintf("needs %d MiB", (reals*4+halves*2)>>20)
	for free, asked := range map[int]int{reals - 1: 1, reals + halves - 1: 2} {
		short := &tight{Set: roomy.Set, free: free}
		if _, err := NewTraining(short, c); err == nil || !strings.Contains(err.Error(), need) || len(short.asked) != asked {
			t.Errorf("with %d elements a program asked %d times and said: %v; want %q", free, len(short.asked), err, need)
		}
	}
}

func TestExplainTimesEveryStep(t *testing.T) {
	p := newTraining(t, openCPU(t, 2), smallConfig(small, 2, 3, "shard"))
	loadStart(t, p.Parameters(), p.Load)
	makeSamples(6, small.Shape, 1).into(t, p)
	var text strings.Builder
	if err := p.Explain(&text, 1); err != nil {
		t.Fatal(err)
	}
	_, kinds, found := strings.Cut(text.String(), "\nkind ")
	if !found {
		t.Fatalf("there is no table of kinds:\n%s", text.String())
	}
	for _, s := range p.Steps() {
		name, _, _ := strings.Cut(s.String(), " ")
		if !strings.Contains(kinds, "\n"+name+" ") {
			t.Errorf("the table of kinds has no %s", name)
		}
	}
	for _, m := range regexp.MustCompile(`roofline: ([0-9.]+) GFLOP/s, ([0-9.]+) GB/s`).FindStringSubmatch(text.String())[1:] {
		if v, err := strconv.ParseFloat(m, 64); err != nil || v < 0.1 || v > 1e5 {
			t.Errorf("the machine does %s G a second", m)
		}
	}
}
