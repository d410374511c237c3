package program_test

import (
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dither-ml/dither/trainer/checkpoint"
	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
	"github.com/dither-ml/dither/trainer/program"
)

var (
	mean = []float64{0.485, 0.456, 0.406}
	std  = []float64{0.229, 0.224, 0.225}
)

// shared is the folder with what PyTorch computed; the test is skipped where it is absent.
func shared(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("DITHER_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the vectors that PyTorch computed are not here (%s); put them beside the checkout or name their folder in DITHER_SHARED", path)
	}
	return path
}

// images are the pixels and labels of n images of a CIFAR-10 file, packed or not, from the first-th on.
func images(t *testing.T, file string, first, n int) ([]byte, []int32) {
	t.Helper()
	const record = 1 + 3*32*32
	read := make([]byte, (first+n)*record)
	if plain, err := os.Open(filepath.Join(shared(t, "data/cifar-10-batches-bin"), file+".bin")); err == nil {
		defer plain.Close()
		if _, err := io.ReadFull(plain, read); err != nil {
			t.Fatal(err)
		}
	} else {
		unpack(t, shared(t, "data/cifar-10-batches-bin/"+file+".bin.xz"), read)
	}
	var pixels []byte
	var labels []int32
	for r := read[first*record:]; len(r) > 0; r = r[record:] {
		labels, pixels = append(labels, int32(r[0])), append(pixels, r[1:record]...)
	}
	return pixels, labels
}

// unpack fills to with the beginning of a file.
func unpack(t *testing.T, path string, to []byte) {
	t.Helper()
	xz := exec.CommandContext(t.Context(), "xz", "-dc", path)
	data, err := xz.StdoutPipe()
	if err == nil {
		err = xz.Start()
	}
	if err != nil {
		t.Skipf("xz cannot unpack the images: %v", err)
	}
	if _, err := io.ReadFull(data, to); err != nil {
		t.Fatal(err)
	}
	data.Close() // the rest of the file is not needed, and xz ends on finding nobody to write to
	xz.Wait()
}

func golden(t *testing.T, name string) map[string]checkpoint.Raw {
	t.Helper()
	m, _, err := checkpoint.ReadSafetensors(shared(t, "golden/"+name+".safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func float64s(t *testing.T, r checkpoint.Raw) []float64 {
	t.Helper()
	v, err := r.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func spec(name string) model.Spec {
	return model.Spec{Name: name, Shortcut: "A", Shape: model.Shape{Channels: 3, Height: 32, Width: 32, Classes: 10}}
}

type loader interface {
	Parameters() []model.Parameter
	Load(name string, v []float32) error
}

// trained loads a net that PyTorch trained.
func trained(t *testing.T, p loader, file string) {
	t.Helper()
	c, err := checkpoint.Load(shared(t, "weights/"+file))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Match(model.Shapes(p.Parameters())); err != nil {
		t.Fatal(err)
	}
	for _, q := range c.Parameters {
		if err := p.Load(q.Name, q.Data); err != nil {
			t.Fatal(err)
		}
	}
}

// near fails unless the norm of the difference is below limit times the norm, and logs it.
func near(t *testing.T, what string, got, want []float64, limit float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	diff, norm := 0.0, 0.0
	for i := range got {
		diff += (got[i] - want[i]) * (got[i] - want[i])
		norm += want[i] * want[i]
	}
	e := math.Sqrt(diff / norm)
	if !(e <= limit) {
		t.Errorf("%s is off by %.2g of its norm, more than %.0g", what, e, limit)
	}
	t.Logf("%s: %.1e", what, e)
}

func geometryOf(n int) []int32 {
	g := make([]int32, 3*n)
	for i := range n {
		g[3*i], g[3*i+1] = 4, 4
	}
	return g
}

// sets are the kernel sets with the tolerances that they are held to.
func sets(t *testing.T) map[string]tolerance {
	fast := fastest(t)
	return map[string]tolerance{"ref": {reference(), 1e-9, 1e-9}, fast.Name(): {fast, 1e-4, 1e-3}}
}

type tolerance struct {
	set              kernel.Set
	logits, gradient float64
}

func TestEvaluationIsPyTorchs(t *testing.T) {
	for net, file := range map[string]string{"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"} {
		for name, tol := range sets(t) {
			t.Run(net+"/"+name, func(t *testing.T) {
				n := quick(t, 256, 4)
				if name == "ref" {
					n = quick(t, map[string]int{"resnet20": 256, "resnet56": 64}[net], 1)
				}
				want := float64s(t, golden(t, net+"_eval")["logits"])[:n*10]
				p, err := program.NewInference(tol.set, spec(net), n, mean, std, 4)
				if err != nil {
					t.Fatal(err)
				}
				trained(t, p, file)
				pixels, _ := images(t, "test_batch", 0, n)
				got := make([]float64, n*10)
				if err := p.LogitsFloat64(pixels, n, got); err != nil {
					t.Fatal(err)
				}
				near(t, "logits", got, want, tol.logits)
			})
		}
	}
}

// slow skips what takes more than seconds.
func slow(t *testing.T) {
	t.Helper()
	if os.Getenv("DITHER_SLOW") == "" {
		t.Skip("takes long: DITHER_SLOW=1 asks for it")
	}
}

// quick is the small number, unless the whole golden files are asked for.
func quick(t *testing.T, whole, small int) int {
	if os.Getenv("DITHER_SLOW") != "" {
		return whole
	}
	return small
}

func TestStepIsPyTorchs(t *testing.T) {
	for loss, l := range map[string]model.Loss{"quadratic": {Quadratic: 1}, "kd": {KD: 1, Temperature: 4}} {
		for name, tol := range sets(t) {
			t.Run(loss+"/"+name, func(t *testing.T) {
				if name == "ref" || loss == "kd" {
					slow(t)
				}
				want := golden(t, "resnet20_step_"+loss)
				p, err := program.NewTraining(tol.set, program.TrainingConfig{Model: spec("resnet20"), Groups: 1, Images: 64, Batch: 64, Shards: 1, Loss: l,
					BatchNorm: "shard", Momentum: 0.9, WeightDecay: 1e-4, Mean: mean, Std: std, Pad: 4})
				if err != nil {
					t.Fatal(err)
				}
				trained(t, p, "resnet20-12fca82f.th")
				pixels, labels := images(t, "data_batch_1", 0, 64)
				soft := float64s(t, want["soft_labels"])
				if err := p.Input(pixels, geometryOf(64), labels, make([]float32, 640)); err != nil {
					t.Fatal(err)
				}
				p.WriteSoftLabels(soft)
				if _, _, err := p.Step(nil); err != nil {
					t.Fatal(err)
				}
				near(t, "loss", p.LossFloat64(), float64s(t, want["loss"]), tol.logits)
				for _, q := range p.Parameters() {
					if q.Trainable {
						near(t, "gradient of "+q.Name, p.GradientFloat64(q.Name), float64s(t, want["grad."+q.Name]), tol.gradient)
					}
				}
				if err := p.Commit(0); err != nil {
					t.Fatal(err)
				}
				for _, q := range p.Parameters() {
					if !q.Trainable {
						near(t, q.Name, p.ReadFloat64(q.Name), tensor(t, want, q.Name), tol.gradient)
					}
				}
			})
		}
	}
}

// tensor is the parameter or statistic of that name in a golden file.
func tensor(t *testing.T, m map[string]checkpoint.Raw, name string) []float64 {
	t.Helper()
	for _, prefix := range []string{"after.", "buffer.", "param."} {
		if r, there := m[prefix+name]; there {
			return float64s(t, r)
		}
	}
	t.Fatalf("the golden file has no %s", name)
	return nil
}

func TestSquaredNormsArePyTorchs(t *testing.T) {
	for net, file := range map[string]string{"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"} {
		for name, tol := range sets(t) {
			t.Run(net+"/"+name, func(t *testing.T) {
				n := quick(t, 16, 2)
				if name == "ref" || net == "resnet56" {
					slow(t)
				}
				p, err := program.NewSquaredNorm(tol.set, spec(net), 3, mean, std, 4)
				if err != nil {
					t.Fatal(err)
				}
				trained(t, p, file)
				pixels, _ := images(t, "test_batch", 0, n)
				want := float64s(t, golden(t, net+"_jacobian")["squared_norm"])
				for from := 0; from < n; from += 2 {
					got := make([]float64, 20)
					if err := p.SquaredNormsFloat64(pixels[from*3072:(from+2)*3072], 2, got); err != nil {
						t.Fatal(err)
					}
					near(t, "squared norms", got, want[from*10:(from+2)*10], tol.gradient)
				}
			})
		}
	}
}

func TestTrajectoryIsPyTorchs(t *testing.T) {
	for name, tol := range sets(t) {
		t.Run(name, func(t *testing.T) {
			slow(t)
			want := golden(t, "resnet20_trajectory")
			p, err := program.NewTraining(tol.set, program.TrainingConfig{Model: spec("resnet20"), Groups: 1, Images: 32, Batch: 32, Shards: 1, Loss: model.Loss{CE: 1},
				BatchNorm: "shard", Momentum: 0.9, WeightDecay: 1e-4, Mean: mean, Std: std, Pad: 4})
			if err != nil {
				t.Fatal(err)
			}
			trained(t, p, "resnet20-12fca82f.th")
			pixels, labels := images(t, "data_batch_2", 0, 320)
			var losses []float64
			for k := range 10 {
				if err := p.Input(pixels[k*32*3072:(k+1)*32*3072], geometryOf(32), labels[k*32:(k+1)*32], nil); err != nil {
					t.Fatal(err)
				}
				if _, _, err := p.Step(nil); err != nil {
					t.Fatal(err)
				}
				losses = append(losses, p.LossFloat64()...)
				if err := p.Commit(0.01); err != nil {
					t.Fatal(err)
				}
			}
			if name == "ref" {
				tol.gradient = 1e-7 // the file has the parameters in float32
			}
			near(t, "losses", losses, float64s(t, want["loss"]), tol.logits)
			for _, q := range p.Parameters() {
				near(t, q.Name, p.ReadFloat64(q.Name), tensor(t, want, q.Name), tol.gradient)
			}
		})
	}
}
