//go:build gpu

package cuda

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
)

// A fault that is planted in a kernel reaches who waits for it, and softcuda says where it is.
func TestPlantedFaults(t *testing.T) {
	if s := open(t).(*set); s.device.name != "softcuda" {
		t.Skip("this is a GPU: " + s.device.name)
	}
	folder := t.TempDir()
	planted, err := filepath.Abs("testdata/planted.cu")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("../../../.ci/softcuda", "--kernels", folder, planted).CombinedOutput(); err != nil {
		t.Fatalf(".ci/softcuda: %v\n%s", err, out)
	}
	for _, c := range []struct {
		kind   kernel.Kind
		checks string
		want   []string
	}{
		{kernel.ReLU, "", []string{"ReLU 1x1x256x1x1", "IllegalAddress", "softcuda: kernel relu, block (1,0,0), thread (127,0,0): touches byte 1024, behind the end of allocation"}},
		{kernel.Add, "1", []string{"Add 1x1x256x1x1", "LaunchFailed", "softcuda: kernel add, block (0,0,0), thread (1,0,0): data race: writes byte 4 of the shared array read (512 bytes), which thread (0,0,0) read, and no barrier lies between"}},
	} {
		child := exec.Command(os.Args[0], "-test.run", "^TestPlantedFault$", "-test.v")
		child.Env = append(os.Environ(), "SOFTCUDA_KERNELS="+folder, "SOFTCUDA_CHECK="+c.checks, "DITHER_TEST_PLANTED="+c.kind.String())
		out, err := child.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", c.kind, err, out)
		}
		for _, want := range c.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%v: no %q in\n%s", c.kind, want, out)
			}
		}
	}
}

// TestPlantedFault is the child of TestPlantedFaults: it runs the kind that the environment names.
func TestPlantedFault(t *testing.T) {
	name := os.Getenv("DITHER_TEST_PLANTED")
	if name == "" {
		t.Skip("run by TestPlantedFaults")
	}
	kind := kernel.ReLU
	if name == kernel.Add.String() {
		kind = kernel.Add
	}
	s := open(t)
	const n = 256
	k, err := s.Prepare(kernel.Elementwise(kind, n))
	if err != nil {
		t.Fatal(err)
	}
	var args []kernel.Memory
	for range 3 {
		m, err := s.Alloc(kernel.Real, n)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, m)
	}
	if kind == kernel.ReLU {
		args = args[:2]
	}
	stream := s.NewStream()
	k.Launch(stream, args)
	if err = stream.Sync(); err == nil {
		t.Fatal("nothing is wrong")
	}
	t.Log(err)
	// Go's own faults are still its panics.
	defer func() {
		if recover() == nil {
			t.Error("a nil pointer does not panic")
		}
	}()
	var none *memory
	t.Log(none.n)
}
