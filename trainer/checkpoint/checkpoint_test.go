package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// resnetShapes are the parameters of a CIFAR ResNet-6n+2.
func resnetShapes(n int, shortcut string, classes, channels int) map[string][]int {
	out := map[string][]int{"conv1.weight": {16, channels, 3, 3}, "linear.weight": {classes, 64}, "linear.bias": {classes}}
	norm := func(name string, c int) {
		for _, part := range []string{"weight", "bias", "running_mean", "running_var"} {
			out[name+"."+part] = []int{c}
		}
	}
	norm("bn1", 16)
	in := 16
	for stage := 1; stage <= 3; stage++ {
		c := 16 << (stage - 1)
		for block := range n {
			p := fmt.Sprintf("layer%d.%d.", stage, block)
			out[p+"conv1.weight"], out[p+"conv2.weight"] = []int{c, in, 3, 3}, []int{c, c, 3, 3}
			norm(p+"bn1", c)
			norm(p+"bn2", c)
			if shortcut == "B" && in != c {
				out[p+"shortcut.0.weight"] = []int{c, in, 1, 1}
				norm(p+"shortcut.1", c)
			}
			in = c
		}
	}
	return out
}

// filled has tensors of the given shapes; every number of it is another.
func filled(shapes map[string][]int, momentum bool) *Checkpoint {
	c := &Checkpoint{}
	next := float32(0)
	fill := func(name string, shape []int) Tensor {
		n, _ := product(shape, math.MaxInt32)
		t := Tensor{name, shape, make([]float32, n)}
		for i := range t.Data {
			next++
			t.Data[i] = 1 / next
		}
		return t
	}
	for name, shape := range shapes {
		c.Parameters = append(c.Parameters, fill(name, shape))
		if momentum && Trainable(name) {
			c.Momentum = append(c.Momentum, fill(name, shape))
		}
	}
	c.Parameters, c.Momentum = sorted(c.Parameters), sorted(c.Momentum)
	return c
}

func encoded(t *testing.T, c *Checkpoint) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := c.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	c := filled(resnetShapes(1, "B", 10, 3), true)
	c.Meta = Meta{
		Version: "v0.1", SpecSHA256: "ab", Arithmetic: "cpu/2", Model: "resnet8", Shortcut: "B", Dataset: "cifar10", Iteration: math.MaxUint32,
		Classes: 10, Channels: 3, Height: 32, Width: 32, Mean: []float64{0.485, 1.0 / 3, 0.406}, Std: []float64{0.229, 0.224, math.Nextafter(0.225, 1)},
		ParametersSHA256: "stale", Source: "pytorch",
	}
	// A NaN's payload, a negative zero and a denormal are bits like any others.
	copy(c.Parameters[0].Data, []float32{math.Float32frombits(0x7fa00001), float32(math.Copysign(0, -1)), 1e-45, float32(math.Inf(-1))})
	path := filepath.Join(t.TempDir(), "c.safetensors")
	if err := Save(path, c); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := c.Meta
	want.ParametersSHA256 = c.Hash()
	if !reflect.DeepEqual(got.Meta, want) {
		t.Errorf("meta is %+v, not %+v", got.Meta, want)
	}
	if !bytes.Equal(encoded(t, got), encoded(t, c)) {
		t.Error("what was read does not encode to the same bytes")
	}
	if len(got.Momentum) != len(c.Momentum) || got.Hash() != c.Hash() {
		t.Error("momentum or hash did not come back")
	}
	if raw, err := os.ReadFile(path); err != nil || !bytes.Equal(raw, encoded(t, c)) {
		t.Error("Save and Encode do not give the same bytes")
	}
}

// TestHash holds the layout to bytes written by hand, and shows what the hash depends on.
func TestHash(t *testing.T) {
	c := &Checkpoint{Parameters: []Tensor{{"b", []int{2, 1}, []float32{1, -2}}, {"a.running_mean", nil, []float32{0.5}}}}
	const want = "sha256:f61359317d8d269e273e3233e550d16b7b3401520a8d6a70941fa4d9e4a48909"
	if got := c.Hash(); got != want {
		t.Errorf("hash is %s, not %s", got, want)
	}
	slices.Reverse(c.Parameters)
	c.Momentum = []Tensor{{"b", []int{2, 1}, []float32{3, 4}}}
	if c.Hash() != want {
		t.Error("the hash depends on order or momentum")
	}
	for i, change := range []func(){
		func() { c.Parameters[1].Shape = []int{1, 2} },
		func() { c.Parameters[1].Name = "c" },
		func() { c.Parameters[1].Data[1] = math.Float32frombits(math.Float32bits(-2) + 1) },
	} {
		before := c.Hash()
		if change(); c.Hash() == before {
			t.Errorf("change %d does not change the hash", i)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := encoded(t, filled(map[string][]int{"a.weight": {3}, "b.running_var": {2}}, true))
	flip := func(i int) []byte { b := bytes.Clone(good); b[i] ^= 1; return b }
	replace := func(old, new string) []byte { return bytes.Replace(good, []byte(old), []byte(new), 1) }
	at := len(good) - 4*8 // momentum of 3, then parameters of 3 and 2
	for _, test := range []struct {
		name string
		data []byte
		want error
		text string
	}{
		{"parameters flipped", flip(len(good) - 1), ErrHash, "its parameters are sha256:"},
		{"momentum flipped", flip(at), ErrHash, "its momentum are sha256:"},
		{"cut in the data", good[:len(good)-1], ErrCut, "tensor b.running_var ends at byte 32 of the data but the file has 31"},
		{"cut in the header", good[:40], ErrCut, "the file ends after 32 of them"},
		{"empty", nil, ErrCut, "it is empty"},
		{"grown", append(bytes.Clone(good), 0), ErrFormat, "1 bytes follow the last tensor"},
		{"another version", replace("checkpoint/1", "checkpoint/9"), ErrFormat, `"checkpoint/9"`},
		{"momentum of nothing", replace("momentum.a.weight", "momentum.c.weight"), ErrFormat, "momentum of c.weight has no trainable parameter"},
		{"momentum of a statistic", encodedUnchecked(map[string]int{"a.running_var": 1, "momentum.a.running_var": 1}), ErrFormat, "momentum of a.running_var has no trainable"},
		{"momentum of some", encodedUnchecked(map[string]int{"a": 1, "b": 1, "momentum.a": 1}), ErrFormat, "momentum for 1 of 2"},
		{"no checkpoint", []byte("GIF89a..."), ErrFormat, `it begins with "GIF89a.."`},
	} {
		_, err := decodeAny(test.data)
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if c, err := Decode(good); err != nil || len(c.Momentum) != 1 || c.Momentum[0].Name != "a.weight" {
		t.Errorf("the good one: %v", err)
	}
}

// encodedUnchecked is a file marked as a checkpoint, of vectors of the given lengths.
func encodedUnchecked(sizes map[string]int) []byte {
	var ts []Tensor
	for name, n := range sizes {
		ts = append(ts, Tensor{name, []int{n}, make([]float32, n)})
	}
	var b bytes.Buffer
	writeSafetensors(&b, floatEntries(ts, func(s string) string { return s }), map[string]string{kindKey: kindCheckpoint})
	return b.Bytes()
}

func TestEncodeRefuses(t *testing.T) {
	one := Tensor{"a", []int{1}, []float32{1}}
	for _, test := range []struct {
		c    Checkpoint
		want error
		text string
	}{
		{Checkpoint{Parameters: []Tensor{one, one}}, ErrDuplicate, "a comes twice"},
		{Checkpoint{Parameters: []Tensor{{"a", []int{2}, []float32{1}}}}, ErrFormat, "holds 1 numbers, its shape [2] says otherwise"},
		{Checkpoint{Parameters: []Tensor{{"momentum.a", []int{1}, []float32{1}}}}, ErrFormat, `named "momentum.a"`},
		{Checkpoint{Parameters: []Tensor{{"a\x1b[2J", []int{1}, []float32{1}}}}, ErrFormat, `named "a\x1b[2J"`},
		{Checkpoint{Parameters: []Tensor{one}, Momentum: []Tensor{one, one}}, ErrDuplicate, "momentum of a comes twice"},
	} {
		if err := test.c.Encode(io.Discard); !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%v", err)
		}
	}
}

// TestFullDisk: whatever fails, the old file is whole and nothing is left beside it.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "c")
	if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	err := writeAside(path, func(w io.Writer) error {
		w.Write(make([]byte, 1<<17)) // beyond the buffer, so that some of it is on disk
		return syscall.ENOSPC
	})
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "what was there before is untouched") {
		t.Errorf("error: %v", err)
	}
	if old, _ := os.ReadFile(path); string(old) != "old" {
		t.Errorf("the old file is now %q", old)
	}
	taken := filepath.Join(dir, "taken") // a folder that is not empty cannot be replaced by a rename
	if err := os.MkdirAll(filepath.Join(taken, "x"), 0o777); err != nil {
		t.Fatal(err)
	}
	c := filled(map[string][]int{"a": {3}}, false)
	if err := Save(taken, c); err == nil {
		t.Error("a folder was replaced")
	}
	if err := Save(filepath.Join(dir, "missing", "c"), c); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.writing-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0); err == nil {
		defer full.Close()
		if err := c.Encode(full); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("writing to a full device: %v", err)
		}
	}
}

func TestInferAndMatch(t *testing.T) {
	for _, w := range []struct {
		n, classes, channels int
		shortcut, model      string
	}{{1, 10, 3, "A", "resnet8"}, {3, 100, 3, "B", "resnet20"}, {9, 7, 1, "A", "resnet56"}} {
		c := filled(resnetShapes(w.n, w.shortcut, w.classes, w.channels), false)
		model, shortcut, classes, channels, err := c.Infer()
		if err != nil || model != w.model || shortcut != w.shortcut || classes != w.classes || channels != w.channels {
			t.Errorf("%+v is told to be %s %s %d %d: %v", w, model, shortcut, classes, channels, err)
		}
	}
	base := resnetShapes(1, "A", 10, 3)
	c := filled(base, false)
	if err := c.Match(base); err != nil {
		t.Errorf("its own shapes: %v", err)
	}
	with := func(name string, shape []int) map[string][]int {
		m := resnetShapes(1, "A", 10, 3)
		if delete(m, name); shape != nil {
			m[name] = shape
		}
		return m
	}
	for _, test := range []struct {
		want map[string][]int
		text string
	}{
		{resnetShapes(3, "A", 10, 3), "it is a resnet8, not a resnet20"},
		{resnetShapes(1, "B", 10, 3), "it is a resnet8 with shortcut A, not a resnet8 with shortcut B"},
		{resnetShapes(1, "A", 100, 3), "it is a resnet8 for 10 classes, not a resnet8 for 100 classes"},
		{resnetShapes(1, "A", 10, 1), "it is a resnet8 for 3 channels, not a resnet8 for 1 channels"},
		{with("bn1.bias", nil), "it has a tensor bn1.bias [16], which the network has not"},
		{with("bn2.bias", []int{4}), "it has no tensor bn2.bias [4]"},
		{with("bn1.bias", []int{4}), "tensor bn1.bias has shape [16], not [4]"},
		{map[string][]int{"linear.weight": {10, 4}}, "it is a resnet8, not an mlp"},
	} {
		if err := c.Match(test.want); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%v, not %q", err, test.text)
		}
	}
	for _, shapes := range []map[string][]int{
		{"a": {1}}, with("layer3.0.conv1.weight", []int{1}), with("layer3.1.conv1.weight", []int{1}), with("layer4.0.conv1.weight", []int{1}), with("conv1.weight", []int{64, 3, 7, 7}), with("conv1.weight", nil),
		with("linear.weight", []int{10, 512}), with("layer1.99999999999.x", []int{1}),
	} {
		_, _, _, _, err := filled(shapes, false).Infer()
		if _, ok := shapes["layer3.0.conv1.weight"]; ok && shapes["layer3.0.conv1.weight"][0] == 1 {
			if err != nil {
				t.Errorf("a shape deep inside is Match's to check: %v", err)
			}
		} else if !errors.Is(err, ErrMismatch) {
			t.Errorf("%v", err)
		}
	}
}
