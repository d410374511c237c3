package checkpoint

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// tensors of testdata/make.py under dither's names, in its order.
var made = []Tensor{
	{Name: "conv1.weight", Shape: []int{4, 3, 3, 3}}, {Name: "bn1.weight", Shape: []int{4}}, {Name: "bn1.bias", Shape: []int{4}},
	{Name: "bn1.running_mean", Shape: []int{4}}, {Name: "bn1.running_var", Shape: []int{4}}, {Name: "layer2.0.shortcut.0.weight", Shape: []int{8, 4, 1, 1}},
	{Name: "layer2.0.shortcut.1.weight", Shape: []int{8}}, {Name: "linear.weight", Shape: []int{5, 8}}, {Name: "linear.bias", Shape: []int{5}},
}

func TestLoadPyTorch(t *testing.T) {
	var want Checkpoint
	for j, m := range made {
		n, _ := product(m.Shape, 1000)
		for i := range n {
			m.Data = append(m.Data, float32(i)/4-float32(j))
		}
		want.Parameters = append(want.Parameters, m)
	}
	files, _ := filepath.Glob("testdata/[zo]*_*.pt")
	if len(files) != 10 {
		t.Fatalf("%d files in testdata", len(files))
	}
	for _, file := range files {
		c, err := Load(file)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if c.Hash() != want.Hash() {
			t.Errorf("%s holds other numbers, names or shapes: %v", file, c.shapes())
		}
		if c.Meta.Source != "pytorch" || c.Meta.ParametersSHA256 != want.Hash() || !slices.IsSortedFunc(c.Parameters, func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("%s: meta %+v", file, c.Meta)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, test := range []struct {
		file string
		want error
		text string
	}{
		{"bad_calls_zip.pt", ErrRefused, "its pickle calls posix.system: refused, nothing of it was run"},
		{"bad_calls_old.pt", ErrRefused, "its pickle calls posix.system: refused, nothing of it was run"},
		{"bad_calls.pkl", ErrRefused, "its pickle calls posix.system: refused, nothing of it was run"},
		{"bad_module.pt", ErrRefused, "its pickle calls torch.nn.modules.linear.Linear: refused, nothing of it was run; only tensors are read, as torch.save(model.state_dict(), file)"},
		{"bad_plain.pkl", ErrFormat, "does not begin with PyTorch's magic number"},
		{"bad_range.pt", ErrRange, "tensor conv1.weight: element 0 is 1e+300"},
		{"bad_integers.pt", ErrFormat, "tensor conv1.weight: its elements are I64, not floating-point numbers"},
		{"bad_duplicate.pt", ErrDuplicate, "conv1.weight and module.conv1.weight are both conv1.weight here"},
		{"bad_expanded.pt", ErrFormat, "tensor conv1.weight has shape [1099511627776], more than a file of its size can hold"},
		{"bad_empty.pt", ErrFormat, `it holds no state dict; its keys are "epoch", "args"`},
	} {
		c, err := Load(filepath.Join("testdata", test.file))
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) || c != nil {
			t.Errorf("%s: %v", test.file, err)
		} else if !strings.HasPrefix(err.Error(), "checkpoint testdata/"+test.file+": ") {
			t.Errorf("the error does not name the file first: %v", err)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Load(t.TempDir()); !errors.Is(err, ErrFormat) {
		t.Errorf("a folder: %v", err)
	}
}

// TestCutAndDamaged cuts a file of each format at most lengths, and flips a bit of every byte: an error, or (where a flipped bit is a number) other numbers, but never a panic.
func TestCutAndDamaged(t *testing.T) {
	for _, file := range []string{"zip_bare.pt", "old_strided.pt", "old_wrapped.pt"} {
		data, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(data); n += 1 + n%3 {
			// With fewer bytes than a format's first ones there is no telling what it was.
			if _, err := decodeAny(data[:n]); !errors.Is(err, ErrCut) && (n >= 4 || !errors.Is(err, ErrFormat)) {
				t.Fatalf("%s cut to %d bytes: %v", file, n, err)
			}
		}
		for i := range data {
			bit := byte(1) << (i % 8)
			data[i] ^= bit
			if c, err := decodeAny(data); (c == nil) == (err == nil) {
				t.Fatalf("%s with byte %d flipped gives neither a checkpoint nor an error, or both", file, i)
			}
			data[i] ^= bit
		}
	}
}

// shared is the folder of weights and data beside the checkout.
func shared(t *testing.T, parts ...string) string {
	root := os.Getenv("DITHER_SHARED")
	if root == "" {
		_, file, _, _ := runtime.Caller(0)
		root = filepath.Join(filepath.Dir(file), "../../../shared")
	}
	path := filepath.Join(append([]string{root}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not there: set DITHER_SHARED to the folder that holds it", path)
	}
	return path
}

func TestSharedWeights(t *testing.T) {
	for file, want := range map[string][2]string{
		"resnet20-12fca82f.th": {"resnet20", "sha256:a16675baf0a80e71cfbcd46b581a51810b66e8e8a0a80cfa614a83eb63a0f5bd"}, "resnet56-4bfd9763.th": {"resnet56", "sha256:83d7cd938afa8c309bf254e7fca249107a36544602ba20aa1bfe9a0b327dcddf"},
	} {
		c, err := Load(shared(t, "weights", file))
		if err != nil {
			t.Fatal(err)
		}
		if c.Meta.Model != want[0] || c.Meta.Shortcut != "A" || c.Meta.Classes != 10 || c.Meta.Channels != 3 {
			t.Errorf("%s: %+v", file, c.Meta)
		}
		if c.Hash() != want[1] {
			t.Errorf("%s: %s", file, c.Hash())
		}
		n := map[string]int{"resnet20": 3, "resnet56": 9}[want[0]]
		if err := c.Match(resnetShapes(n, "A", 10, 3)); err != nil {
			t.Error(err)
		}
	}
}

// TestExport: what is exported is read back as the same parameters, under torchvision's names in the file.
func TestExport(t *testing.T) {
	c := filled(resnetShapes(1, "B", 10, 3), true)
	c.Meta = Meta{Dataset: "svhn", Mean: []float64{0.5, 0.25, 0.125}, Std: []float64{1, 1, 1}}
	path := filepath.Join(t.TempDir(), "out.safetensors")
	if err := c.Export(path); err != nil {
		t.Fatal(err)
	}
	raw, meta, err := ReadSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) != len(c.Parameters) || raw["fc.weight"].Shape == nil || raw["layer2.0.downsample.0.weight"].Shape == nil || meta["format"] != "pt" {
		t.Errorf("%d tensors, metadata %v", len(raw), meta)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.Hash() != c.Hash() || got.Momentum != nil || got.Meta.Model != "resnet8" || got.Meta.Dataset != "svhn" || got.Meta.Mean[1] != 0.25 || got.Meta.Source != "safetensors" {
		t.Errorf("came back as %+v", got.Meta)
	}
}

// TestRecipe runs the Python of docs/checkpoints.md on a checkpoint.
func TestRecipe(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3")
	}
	doc, err := os.ReadFile("../../docs/checkpoints.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(doc), "```python\n")
	code, _, ok := strings.Cut(code, "```")
	if !ok {
		t.Fatal("docs/checkpoints.md has no Python")
	}
	c := filled(resnetShapes(1, "B", 10, 3), true)
	path := filepath.Join(t.TempDir(), "c.safetensors")
	if err := Save(path, c); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, "-c", code, path).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != c.Hash() {
		t.Errorf("the recipe gives %s, not %s: %v", out, c.Hash(), err)
	}
}
