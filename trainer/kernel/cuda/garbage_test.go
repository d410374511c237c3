//go:build gpu

package cuda

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"gorgonia.org/cu"

	"github.com/dither-ml/dither/trainer/kernel"
)

// What nobody holds any more makes room, without anybody having asked for a collection; what is held does not, and the error says what is free.
func TestGarbageMakesRoom(t *testing.T) {
	s := open(t)
	d := s.(*set).device
	if d.name == "softcuda" && os.Getenv("SOFTCUDA_MEMORY") == "" { // whose memory is this machine's
		child := exec.Command(os.Args[0], "-test.run", "^TestGarbageMakesRoom$")
		child.Env = append(os.Environ(), "SOFTCUDA_MEMORY=67108864")
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	var free int64
	if err := d.call(func() (err error) { free, _, err = cu.MemInfo(); return err }); err != nil {
		t.Fatal(err)
	}
	most := int(free / 4 * 3 / 4) // elements of three quarters of it
	for range 3 {
		if _, err := s.Alloc(kernel.Real, most); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := s.Alloc(kernel.Real, most)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Alloc(kernel.Real, most)
	if full, is := errors.AsType[*kernel.NoMemory](err); !is || full.Asked != 4*int64(most) || full.Free >= full.Asked || full.Free > free-full.Asked || full.Where != d.String() {
		t.Errorf("a second time three quarters of %d bytes gave the error %v", free, err)
	}
	runtime.KeepAlive(kept)
	// A launch that is refused for want of memory is no fault of the device.
	if err := s.NewStream().Sync(); err != nil {
		t.Error(err)
	}
}
