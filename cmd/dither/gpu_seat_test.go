package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel/cuda"
)

// hall is two GPUs, and those who sit there.
type hall struct {
	t      *testing.T
	driver cuda.Driver
}

func newHall(t *testing.T) *hall {
	t.Setenv("TMPDIR", t.TempDir())
	return &hall{t, cuda.Driver{Version: cuda.NeedsDriver, Devices: []cuda.Device{{UUID: "GPU-a"}, {UUID: "GPU-b"}}}}
}

// claim wants GPUs; leaves gives them back.
func (h *hall) claim(u gpuUser, want ...int) (leaves func()) {
	h.t.Helper()
	seats, err := claimGPUs(h.driver, u)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { leave(seats) })
	var got []int
	for _, s := range seats {
		got = append(got, s.device)
	}
	if !slices.Equal(got, want) {
		h.t.Fatalf("GPUs %v, want %v", got, want)
	}
	return func() { leave(seats) }
}

func (h *hall) refuses(u gpuUser) {
	h.t.Helper()
	if _, err := claimGPUs(h.driver, u); exitCode(err) != exitUsage {
		h.t.Fatalf("one more ends with %v", err)
	}
}

// Trainers take the GPUs in turn; one more is refused, or shares that with the fewest; and what is given back can be had again.
func TestTrainersTakeTheGPUsInTurn(t *testing.T) {
	h := newHall(t)
	alone, shares := gpuUser{trains: true}, gpuUser{trains: true, shares: true}
	h.claim(alone, 0)
	second := h.claim(shares, 1)
	h.refuses(alone)
	h.claim(shares, 0)
	third := h.claim(shares, 1)
	second()
	h.refuses(alone)
	third()
	h.claim(alone, 1)
	// Another process may see them in another order.
	h.driver.Devices[0], h.driver.Devices[1] = h.driver.Devices[1], h.driver.Devices[0]
	h.claim(shares, 0)
	h.refuses(alone)
}

// A trainer has all the GPUs that it asks for, or holds none.
func TestATrainerTakesSeveralGPUs(t *testing.T) {
	h := newHall(t)
	alone, pair := gpuUser{trains: true}, gpuUser{trains: true, gpus: 2}
	both := h.claim(pair, 0, 1)
	h.refuses(alone)
	h.claim(gpuUser{trains: true, shares: true, gpus: 2}, 0, 1)()
	both()
	one := h.claim(alone, 0)
	h.refuses(pair)
	h.claim(alone, 1)() // the refused one took no seat
	one()
	h.refuses(gpuUser{trains: true, gpus: 3})
	h.refuses(gpuUser{trains: true, shares: true, gpus: 3})
	h.driver.Devices = append(h.driver.Devices, cuda.Device{UUID: "GPU-c"})
	h.claim(alone, 0)
	h.claim(pair, 1, 2)
}

// Whatever else computes goes where no trainer is while there is such a GPU, is never refused, and keeps no trainer away.
func TestOthersKeepOutOfTheTrainersWay(t *testing.T) {
	h := newHall(t)
	other, alone := gpuUser{}, gpuUser{trains: true}
	teacher := h.claim(other, 1)
	h.claim(alone, 0)
	h.claim(other, 1)
	h.claim(alone, 1)
	h.claim(other, 0)
	h.claim(other, 0)
	h.claim(other, 1)
	teacher()
	h.claim(other, 1)
	// A trainer goes where nobody is, if it can choose.
	h = newHall(t)
	h.claim(other, 1)
	h.claim(other, 0)
	h.claim(other, 1)
	h.claim(alone, 0)
}

// The files of another user can be read and not written, and are locked all the same.
func TestSeatsOfAnotherUser(t *testing.T) {
	h := newHall(t)
	h.claim(gpuUser{trains: true}, 0)
	paths, err := filepath.Glob(filepath.Join(os.TempDir(), "dither-*"))
	if err != nil || len(paths) != 2 {
		t.Fatalf("%v, %v", paths, err)
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
		if err := os.Chmod(path, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	h.claim(gpuUser{trains: true}, 1)
}
