package program

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
)

// scarce is a set with so many bytes to give, once.
type scarce struct {
	kernel.Set
	free int64
}

func (s *scarce) Alloc(t kernel.Type, n int) (kernel.Memory, error) {
	size := int64(n) * int64(t.Size())
	if size > s.free {
		return nil, &kernel.NoMemory{Asked: size, Free: s.free, Where: "GPU 7"}
	}
	s.free -= size
	return s.Set.Alloc(t, n)
}

// large has images beside which its parameters are small.
var large = model.Spec{Name: "resnet8", Shortcut: "A", Shape: model.Shape{Channels: 3, Height: 24, Width: 24, Classes: 5}}

// What the error of a share names fits, and one more does not: of samples and of shards.
func TestAShareThatDoesNotFitSaysWhatWould(t *testing.T) {
	cpu := openCPU(t, 1)
	c := smallConfig(large, 4, 12, "shard")
	need, least := newTraining(t, cpu, c).MemoryBytes(), newTraining(t, cpu, smallConfig(large, 4, 1, "shard")).MemoryBytes()
	for _, tenths := range []int64{1, 3, 5, 9} {
		room := least + (need-least)*tenths/10
		_, err := NewTraining(&scarce{cpu, room}, c)
		if _, is := errors.AsType[*kernel.NoMemory](err); !is {
			t.Fatalf("%d of %d bytes: %v", room, need, err)
		}
		number := func(pattern string) int {
			if m := regexp.MustCompile(pattern).FindStringSubmatch(err.Error()); m != nil {
				n, _ := strconv.Atoi(m[1])
				return n
			}
			return 0
		}
		images, batch, shards := number(`; (\d+) samples a shard fit`), number(`\(--batch (\d+)\)`), number(`, or (\d+) shards at once, with \d+ trainers`)
		if batch != 4*images || images == 0 {
			t.Errorf("%d samples in each of 4 shards are a batch of %d: %v", images, batch, err)
		}
		for _, more := range []int{0, 1} {
			for _, v := range [][2]int{{4, images + more}, {shards + more, 12}} {
				try := c
				try.Groups, try.Images, try.Batch = v[0], v[1], 4*v[1]
				if try.Groups == 0 {
					continue
				}
				if _, got := NewTraining(&scarce{cpu, room}, try); (got == nil) != (more == 0) {
					t.Errorf("%d of %d bytes: %v; yet %d shards of %d samples give %v", room, need, err, try.Groups, try.Images, got)
				}
			}
		}
	}
	if _, err := NewTraining(&scarce{cpu, 1000}, c); err == nil || !regexp.MustCompile(`; not even one sample a shard fits$`).MatchString(err.Error()) {
		t.Errorf("with 1000 bytes: %v", err)
	}
}

// What does not fit at once goes through in blocks, to the same bits.
func TestImagesGoThroughInAsManyBlocksAsMemoryAsksFor(t *testing.T) {
	cpu := openCPU(t, 1)
	const n = 30
	in, bare := makeSamples(n, large.Shape, 1), smallConfig(large, 1, 1, "shard")
	logits := func(set kernel.Set) (*Inference, []float32, error) {
		p, err := NewInference(set, large, n, bare.Mean, bare.Std, bare.Pad)
		if err != nil {
			return nil, nil, err
		}
		loadStart(t, p.Parameters(), p.Load)
		out := make([]float32, n*large.Classes)
		return p, out, p.Logits(in.pixels, in.geometry, n, out)
	}
	norms := func(set kernel.Set) (*SquaredNorm, []float32, error) {
		p, err := NewSquaredNorm(set, large, n, bare.Mean, bare.Std, bare.Pad)
		if err != nil {
			return nil, nil, err
		}
		loadStart(t, p.Parameters(), p.Load)
		out := make([]float32, n*large.Classes)
		return p, out, p.SquaredNorms(in.pixels, n, out)
	}
	whole, wantLogits, err := logits(cpu)
	if err != nil {
		t.Fatal(err)
	}
	wholeNorm, wantNorms, err := norms(cpu)
	if err != nil {
		t.Fatal(err)
	}
	for _, tenths := range []int64{4, 6, 9} {
		p, got, err := logits(&scarce{cpu, whole.MemoryBytes() * tenths / 10})
		if err != nil || !slices.Equal(got, wantLogits) || p.images >= n {
			t.Errorf("logits in %d tenths of the memory: %v, or other bits, or all images at once", tenths, err)
		}
		q, got, err := norms(&scarce{cpu, wholeNorm.MemoryBytes() * tenths / 10})
		if err != nil || !slices.Equal(got, wantNorms) || q.images >= n {
			t.Errorf("norms in %d tenths of the memory: %v, or other bits, or all images at once", tenths, err)
		}
	}
	want := fmt.Sprintf("^%s, %d images at once: .*; not even one image fits: ", large.Name, n)
	if _, _, err := logits(&scarce{cpu, 1000}); err == nil || !regexp.MustCompile(want).MatchString(err.Error()) {
		t.Errorf("with 1000 bytes: %v", err)
	}
}
