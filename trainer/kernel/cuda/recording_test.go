//go:build gpu

package cuda

import (
	"errors"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
)

// What goes wrong in a graph is told with the work that it does, and from then on.
func TestAFaultInAGraphNamesTheWork(t *testing.T) {
	if s := open(t).(*set); s.device.name != "softcuda" {
		t.Skip("this is a GPU: " + s.device.name)
	}
	for fail, want := range map[string]string{
		"cuStreamBeginCapture_v2:1:900": "making a graph: StreamCaptureUnsupported", // in the first replay
		"cuStreamEndCapture:1:901":      "making a graph: StreamCaptureInvalidated",
		"cuGraphLaunch:2:700":           "some launch up to doubling twice (2 calls, from Add 1x1x256x1x1 to Add 1x1x256x1x1): IllegalAddress", // in the third
		"cuGraphLaunch:1:1":             "GPU 0 (softcuda): doubling twice (2 calls, from Add 1x1x256x1x1 to Add 1x1x256x1x1): InvalidValue",
		"cuEventSynchronize:3:719":      "some launch up to doubling twice (2 calls, from Add 1x1x256x1x1 to Add 1x1x256x1x1): LaunchFailed",
	} {
		child := exec.Command(os.Args[0], "-test.run", "^TestAFaultInAGraph$", "-test.v")
		child.Env = append(os.Environ(), "SOFTCUDA_FAIL="+fail, "DITHER_TEST_FAULT=1")
		out, err := child.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "GPU 0 (softcuda): ") || strings.Count(string(out), want) != 3 {
			t.Errorf("%s: %v, want three times %q in\n%s", fail, err, want, out)
		}
	}
}

// TestAFaultInAGraph is the child: it replays until something goes wrong, and asks again.
func TestAFaultInAGraph(t *testing.T) {
	if os.Getenv("DITHER_TEST_FAULT") == "" {
		t.Skip("run by TestAFaultInAGraphNamesTheWork")
	}
	s := open(t)
	const n = 256
	k, err := s.Prepare(kernel.Elementwise(kernel.Add, n))
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Alloc(kernel.Real, n)
	if err != nil {
		t.Fatal(err)
	}
	q := s.NewStream()
	args := []kernel.Memory{m, m, m}
	work := q.Record("doubling twice", func() {
		k.Launch(q, args)
		k.Launch(q, args)
	})
	done := q.NewMark()
	for err, replays := error(nil), 0; err == nil; replays++ {
		if replays == 5 {
			t.Fatal("nothing is wrong")
		}
		work.Replay()
		done.Set(q)
		if err = done.Wait(); err != nil {
			t.Log(err)
		}
	}
	again := done.Wait()
	t.Log(again)
	if last := q.Sync(); !errors.Is(last, again) && last.Error() != again.Error() {
		t.Errorf("Sync says %v", last)
	} else {
		t.Log(last)
	}
}

// Who reads pinned memory of a set that is closed is found out.
func TestPinnedMemoryEndsWithItsSet(t *testing.T) {
	s := open(t)
	if name := s.(*set).device.name; name != "softcuda" {
		t.Skip("this is a GPU, whose driver need not take it away: " + name)
	}
	p, err := s.NewStream().Pin(kernel.Real, 5)
	if err != nil {
		t.Fatal(err)
	}
	host := p.Host.([]float32)
	s.Close()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() == nil {
			t.Error("it can be read")
		}
	}()
	t.Log(host[0])
}

// Pinned memory is copied as it is when the device comes to it, and is given back.
func TestPinnedMemoryIsOfItsType(t *testing.T) {
	s := open(t)
	q := s.NewStream()
	for kind, wrong := range map[kernel.Type]kernel.Type{kernel.Real: kernel.Int, kernel.Byte: kernel.Real, kernel.Int: kernel.Byte} {
		p, err := q.Pin(kind, 5)
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.Alloc(kind, 5)
		if err != nil {
			t.Fatal(err)
		}
		q.Write(m, p)
		q.Read(p, m)
		if err := q.Sync(); err != nil {
			t.Fatal(err)
		}
		other, err := s.Alloc(wrong, 5)
		if err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("pinned memory of type %d was copied into memory of type %d", kind, wrong)
				}
			}()
			q.Write(other, p)
		}()
	}
	if _, err := q.Pin(kernel.Real, -1); err == nil || !strings.Contains(err.Error(), "-1") {
		t.Errorf("Pin of -1 elements gave the error %v", err)
	}
}
