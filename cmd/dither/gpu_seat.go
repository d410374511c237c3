package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/dither-ml/dither/trainer/kernel/cuda"
)

// Who computes on a GPU has a seat there: a lock on a file in the folder for temporary files, named by the GPU's UUID, which the kernel gives back however a process
// ends. Trainers have seats of their own kind: a GPU that has a trainer is no other's, unless that one may share. Whatever else computes goes where it is in nobody's way.

// gpuUser is what somebody wants a GPU for.
type gpuUser struct {
	trains bool
	shares bool // a trainer that may compute beside others; who trains not always may
}

// What a seat's file is called by: who trains, and everybody else.
const (
	trainerSeat = "trainer"
	otherSeat   = "other"
	mostSeats   = 64 // of a kind, on a GPU
)

// place is a GPU and who is there.
type place struct{ device, trainers, others int }

// claimGPU finds a GPU, and holds a seat there for as long as the file is open. Trainers go where the fewest trainers are, others likewise, but from the last GPU on, because trainers fill them from the first.
func claimGPU(d cuda.Driver, u gpuUser) (device int, held *os.File, err error) {
	gate, err := passGate()
	if err != nil {
		return 0, nil, err
	}
	defer gate.Close()
	var places []place
	for i, v := range d.Devices {
		p := place{device: i}
		if p.trainers, err = taken(v, trainerSeat); err == nil {
			p.others, err = taken(v, otherSeat)
		}
		if err != nil {
			return 0, nil, err
		}
		places = append(places, p)
	}
	kind := otherSeat
	if u.trains {
		kind = trainerSeat
	} else {
		slices.Reverse(places)
	}
	best := slices.MinFunc(places, func(a, b place) int { return cmp.Or(a.trainers-b.trainers, a.others-b.others) })
	if u.trains && !u.shares && best.trainers > 0 {
		return 0, nil, badInputf("--kernels cuda: every GPU that is visible (%d) has a trainer already; begin fewer trainers, or say --share-gpu", len(d.Devices))
	}
	for seat := range mostSeats {
		if held, err = sit(seatPath(d.Devices[best.device], kind, fmt.Sprint(seat))); !errors.Is(err, errBusy) {
			return best.device, held, err
		}
	}
	return 0, nil, badInputf("--kernels cuda: GPU %d (%s) has %d of dither's processes already; begin fewer", best.device, d.Devices[best.device].Name, mostSeats)
}

// passGate lets one process after the other look round and choose.
func passGate() (*os.File, error) {
	f, err := openSeat(filepath.Join(os.TempDir(), "dither-gpus"))
	if err != nil {
		return nil, err
	}
	for {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	return f, nil
}

func seatPath(d cuda.Device, kind, seat string) string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("dither-%s.%s.%s", d.UUID, kind, seat))
}

// taken is how many seats of a kind are taken. Only who has passed the gate may try them.
func taken(d cuda.Device, kind string) (n int, err error) {
	paths, err := filepath.Glob(seatPath(d, kind, "*"))
	for _, path := range paths {
		f, err := sit(path)
		switch {
		case err == nil:
			f.Close()
		case errors.Is(err, errBusy):
			n++
		default:
			return 0, err
		}
	}
	return n, err
}

// sit takes a seat; errBusy: somebody has it.
func sit(path string) (*os.File, error) {
	f, err := openSeat(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errBusy
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return f, nil
}

// openSeat opens a file to lock, which another user of this machine may have made: to lock it one need not write it.
func openSeat(path string) (*os.File, error) {
	for {
		f, err := os.Open(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		f, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = f.Chmod(0o644) // whatever the umask says
		}
		return f, err
	}
}
