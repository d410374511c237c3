package teacher

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dither-ml/dither/dataloader"
	"github.com/dither-ml/dither/noise"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/checkpoint"
	"github.com/dither-ml/dither/trainer/kernel/cpu"
	"github.com/dither-ml/dither/trainer/model"
)

// teacherFile is an mlp for the digits with random parameters, and their sha256; spoil may change a parameter.
func teacherFile(t testing.TB, d *dataloader.Set, spoil func(v []float32)) (file []byte, sum string) {
	t.Helper()
	ps, err := model.Parameters(model.Spec{Name: "mlp", Shape: model.Shape{Channels: d.Channels, Height: d.Height, Width: d.Width, Classes: d.Classes}})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(ps, func(a, b model.Parameter) int { return strings.Compare(a.Name, b.Name) })
	r := rand.New(rand.NewPCG(1, 2))
	c := &checkpoint.Checkpoint{Meta: checkpoint.Meta{Model: "mlp", Dataset: "digits", Classes: d.Classes, Channels: d.Channels, Height: d.Height, Width: d.Width}}
	for _, p := range ps {
		v := make([]float32, p.Len())
		for i := range v {
			v[i] = float32(0.05 * r.NormFloat64())
		}
		if spoil != nil {
			spoil(v)
		}
		c.Parameters = append(c.Parameters, checkpoint.Tensor{Name: p.Name, Shape: p.Shape, Data: v})
	}
	var b bytes.Buffer
	if err := c.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), strings.TrimPrefix(c.Hash(), "sha256:")
}

// config is a service for the digits with an mlp as teacher and Gaussian noise.
func config(t testing.TB) Config {
	t.Helper()
	d, err := dataloader.Open("digits", "", dataloader.Options{TrainLimit: 80, TestLimit: 1})
	if err != nil {
		t.Fatal(err)
	}
	set, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	c := Config{Kernels: set, Data: d}
	var sum string
	c.File, sum = teacherFile(t, d, nil)
	spec := &ditherv1.RunSpec{Dataset: &ditherv1.DatasetSpec{Name: "digits", Classes: uint32(d.Classes), Channels: uint32(d.Channels), Height: uint32(d.Height), Width: uint32(d.Width), TrainSha256: d.Train.Hash()},
		Teacher: &ditherv1.TeacherSpec{Model: &ditherv1.ModelSpec{Name: "mlp"}, Sha256: sum, Arithmetic: set.Arithmetic(), View: "augmented"},
		Noise:   &ditherv1.NoiseSpec{Kind: "gaussian", Parameters: map[string]float64{"sigma2": 0.5}, Refresh: "iteration"},
		Batch:   8, Shards: 2, Iterations: 30, Seed: 11, Augment: "standard"}
	for range d.Channels {
		spec.Dataset.Mean, spec.Dataset.Std = append(spec.Dataset.Mean, 0.4), append(spec.Dataset.Std, 0.3)
	}
	c.Run = &ditherv1.GetRunResponse{Run: "r", Spec: spec, Options: &ditherv1.RunOptions{TeacherCacheBytes: 1 << 20}}
	return c
}

// open starts the service of a configuration, whose noise is its spec's.
func open(t *testing.T, c Config) (*Service, error) {
	t.Helper()
	n, err := noise.New(c.Run.GetSpec().GetNoise(), "")
	if err != nil {
		t.Fatal(err)
	}
	c.Noise = n
	c.Run = proto.CloneOf(c.Run)
	c.Run.SpecSha256 = ditherv1.Hash(c.Run.GetSpec())
	s, err := New(t.Context(), c)
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

func opened(t *testing.T, c Config) *Service {
	t.Helper()
	s, err := open(t, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ask(t *testing.T, s *Service, k uint32, samples ...uint32) []float32 {
	t.Helper()
	r, err := s.NoisyLabels(context.Background(), &ditherv1.NoisyLabelsRequest{Run: s.Run.GetRun(), SpecSha256: s.Run.GetSpecSha256(), Iteration: k, Samples: samples})
	if err != nil {
		t.Fatal(err)
	}
	v := make([]float32, len(samples)*s.classes)
	if err := r.GetLabels().ReadFloat32(v, int64(len(samples)), int64(s.classes)); err != nil {
		t.Fatal(err)
	}
	return v
}

func sameLabels(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: number %d is %v, not %v", what, i, got[i], want[i])
		}
	}
}

func everyone(n int) (ids []uint32) {
	for i := range n {
		ids = append(ids, uint32(i*37%n)) // in no order; 37 is prime to every n used
	}
	return ids
}

func TestLabelsDependNeitherOnTheCacheNorOnTheBatch(t *testing.T) {
	c := config(t)
	cached := opened(t, c)
	small := c
	small.Run = proto.CloneOf(c.Run)
	small.Run.Options.TeacherCacheBytes = 3 * entryBytes(c.Data.Classes)
	tight := opened(t, small)
	small.Run.Options.TeacherCacheBytes = 0
	none := opened(t, small)
	ids := everyone(40) // more than one forward pass
	for _, k := range []uint32{1, 2, 30, 1} {
		want := ask(t, none, k, ids...)
		for name, s := range map[string]*Service{"cache": cached, "small cache": tight, "no cache": none} {
			sameLabels(t, name, ask(t, s, k, ids...), want)
			for i := 0; i < len(ids); i += 13 {
				n := min(3, len(ids)-i)
				sameLabels(t, name+", by three", ask(t, s, k, ids[i:i+n]...), want[i*s.classes:(i+n)*s.classes])
			}
		}
	}
	sameLabels(t, "a sample asked for twice", ask(t, tight, 5, 4, 9, 4)[2*c.Data.Classes:], ask(t, none, 5, 4))
	full, err := cached.TeacherStatus(t.Context(), nil)
	if err != nil || full.GetCacheHits() == 0 || full.GetCacheMisses() == 0 || full.GetCacheEntries() != full.GetCacheMisses() {
		t.Errorf("the cache that holds everything says %v", full)
	}
	off, _ := none.TeacherStatus(t.Context(), nil)
	if off.GetCacheHits() != 0 || off.GetCacheEntries() != 0 || off.GetCacheCapacity() != 0 {
		t.Errorf("no cache says %v", off)
	}
}

func TestRefresh(t *testing.T) {
	c := config(t)
	c.Run.Spec.Teacher.View = "original"
	fresh := opened(t, c)
	once := c
	once.Run = proto.CloneOf(c.Run)
	once.Run.Spec.Noise.Refresh = "once"
	fixed := opened(t, once)
	if slices.Equal(ask(t, fresh, 1, 3, 4), ask(t, fresh, 2, 3, 4)) {
		t.Error("two iterations have the same noise")
	}
	for _, k := range []uint32{2, 15, 30} {
		sameLabels(t, "drawn once", ask(t, fixed, k, 3, 4), ask(t, fixed, 1, 3, 4))
	}
}

func TestWhatIsNotServed(t *testing.T) {
	s := opened(t, config(t))
	good := func() *ditherv1.NoisyLabelsRequest {
		return &ditherv1.NoisyLabelsRequest{Run: "r", SpecSha256: s.Run.GetSpecSha256(), Iteration: 30, Samples: []uint32{79}}
	}
	if _, err := s.NoisyLabels(t.Context(), good()); err != nil {
		t.Fatal(err)
	}
	for says, spoil := range map[string]func(*ditherv1.NoisyLabelsRequest){
		"asked by run other":             func(r *ditherv1.NoisyLabelsRequest) { r.Run = "other" },
		"of spec abc":                    func(r *ditherv1.NoisyLabelsRequest) { r.SpecSha256 = "abc" },
		"no iteration 0 in a run of 30":  func(r *ditherv1.NoisyLabelsRequest) { r.Iteration = 0 },
		"no iteration 31 in a run of 30": func(r *ditherv1.NoisyLabelsRequest) { r.Iteration = 31 },
		"no sample 80 among 80":          func(r *ditherv1.NoisyLabelsRequest) { r.Samples = []uint32{1, 80} },
		"81 samples were asked for":      func(r *ditherv1.NoisyLabelsRequest) { r.Samples = make([]uint32, 81) },
	} {
		r := good()
		spoil(r)
		if _, err := s.NoisyLabels(t.Context(), r); err == nil || !strings.Contains(ditherv1.Message(err), says) {
			t.Errorf("%q: the answer is %v", says, err)
		}
	}
}

func TestPrecomputedLogits(t *testing.T) {
	c := config(t)
	n := c.Data.Train.N() * c.Data.Classes
	values := make([]float32, n)
	var raw []byte
	for i := range values {
		values[i] = float32(i) / 8
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(values[i]))
	}
	sum := sha256.Sum256(raw)
	path := filepath.Join(t.TempDir(), "logits.safetensors")
	file := func(rows int, data []byte) []byte {
		if err := checkpoint.WriteSafetensors(path, map[string]checkpoint.Raw{"logits": {DType: "F32", Shape: []int{rows, c.Data.Classes}, Data: data}}, nil); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	c.File = file(c.Data.Train.N(), raw)
	c.Run.Spec.Teacher = &ditherv1.TeacherSpec{Sha256: hex.EncodeToString(sum[:]), Arithmetic: "logits", View: "original"}
	c.Run.Spec.Noise = &ditherv1.NoiseSpec{Kind: "none", Refresh: "iteration"}
	s := opened(t, c)
	got := ask(t, s, 3, 5, 79, 0)
	for i, id := range []int{5, 79, 0} {
		sameLabels(t, "logits", got[i*s.classes:(i+1)*s.classes], values[id*s.classes:(id+1)*s.classes])
	}
	c.Run.Spec.Teacher.Sha256 = strings.Repeat("0", 64)
	if _, err := open(t, c); err == nil || !strings.Contains(err.Error(), "the spec says 000000000000") {
		t.Errorf("other logits are taken: %v", err)
	}
	short := raw[:len(raw)-4*c.Data.Classes]
	sum = sha256.Sum256(short)
	c.File, c.Run.Spec.Teacher.Sha256 = file(c.Data.Train.N()-1, short), hex.EncodeToString(sum[:])
	if _, err := open(t, c); err == nil || !strings.Contains(err.Error(), "need 800") {
		t.Errorf("logits of too few images are taken: %v", err)
	}
}

func TestAnotherTeacherOrDataIsRefused(t *testing.T) {
	for says, spoil := range map[string]func(*Config){
		"the spec says 000000000000":       func(c *Config) { c.Run.Spec.Teacher.Sha256 = strings.Repeat("0", 64) },
		"training images here are not":     func(c *Config) { c.Run.Spec.Dataset.TrainSha256 = "other" },
		"forward pass is in arithmetic x/": func(c *Config) { c.Run.Spec.Teacher.Arithmetic = "x/1" },
		"which needs --kernels cuda":       func(c *Config) { c.Run.Spec.Teacher.Arithmetic = "cuda-bf16/1-sm90" },
		"teacher":                          func(c *Config) { c.File = c.File[:100] },
		"resnet8":                          func(c *Config) { c.Run.Spec.Teacher.Model = &ditherv1.ModelSpec{Name: "resnet8", Shortcut: "C"} },
	} {
		c := config(t)
		spoil(&c)
		if _, err := open(t, c); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: the error is %v", says, err)
		}
	}
}

func TestATeacherWhoseLogitsAreNotFiniteIsNamed(t *testing.T) {
	c := config(t)
	c.File, c.Run.Spec.Teacher.Sha256 = teacherFile(t, c.Data, func(v []float32) {
		for i := range v {
			v[i] = 1e30
		}
	})
	for i := range c.Run.Spec.Dataset.Mean {
		c.Run.Spec.Dataset.Mean[i] = -1 // every input is positive, so that no ReLU hides it
	}
	s := opened(t, c)
	_, err := s.NoisyLabels(t.Context(), &ditherv1.NoisyLabelsRequest{Run: "r", SpecSha256: s.Run.GetSpecSha256(), Iteration: 1, Samples: []uint32{17}})
	if err == nil || !strings.Contains(ditherv1.Message(err), "training image 17 are not finite") {
		t.Errorf("the answer is %v", err)
	}
}
