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
	gpus   int  // how many of them; 0: one
}

// What a seat's file is called by: who trains, and everybody else.
const (
	trainerSeat = "trainer"
	otherSeat   = "other"
	mostSeats   = 64 // of a kind, on a GPU
)

// place is a GPU and who is there.
type place struct{ device, trainers, others int }

// seat is a place that is held for as long as the file is open.
type seat struct {
	device int
	held   *os.File
}

// claimGPUs finds as many GPUs as are wanted, and holds a seat at each, in the driver's order, or none. Trainers go where the fewest trainers are, others likewise, but from the last GPU on, because trainers fill them from the first.
func claimGPUs(d cuda.Driver, u gpuUser) (seats []seat, err error) {
	gate, err := passGate()
	if err != nil {
		return nil, err
	}
	defer gate.Close()
	var places []place
	for i, v := range d.Devices {
		p := place{device: i}
		if p.trainers, err = taken(v, trainerSeat); err == nil {
			p.others, err = taken(v, otherSeat)
		}
		if err != nil {
			return nil, err
		}
		places = append(places, p)
	}
	kind := otherSeat
	if u.trains {
		kind = trainerSeat
	} else {
		slices.Reverse(places)
	}
	slices.SortStableFunc(places, func(a, b place) int { return cmp.Or(a.trainers-b.trainers, a.others-b.others) })
	if err := u.enough(places); err != nil {
		return nil, err
	}
	best := places[:max(1, u.gpus)]
	slices.SortFunc(best, func(a, b place) int { return a.device - b.device })
	for _, p := range best {
		held, err := takeSeat(d.Devices[p.device], p.device, kind)
		if err != nil {
			leave(seats)
			return nil, err
		}
		seats = append(seats, seat{p.device, held})
	}
	return seats, nil
}

// enough refuses where there are too few GPUs, or too few that have no trainer. places begin with those that have the fewest.
func (u gpuUser) enough(places []place) error {
	wanted, free := max(1, u.gpus), len(places)
	if u.trains && !u.shares {
		free = len(slices.DeleteFunc(slices.Clone(places), func(p place) bool { return p.trainers > 0 }))
	}
	switch {
	case len(places) < wanted:
		return badInputf("--kernels cuda: --gpus %d of a trainer and %d visible GPUs; say --gpus %d", wanted, len(places), len(places))
	case free == 0:
		return badInputf("--kernels cuda: every GPU that is visible (%d) has a trainer already; begin fewer trainers, or say --share-gpu", len(places))
	case free < wanted:
		return badInputf("--kernels cuda: --gpus %d, and %d of the %d visible GPUs have no trainer yet; begin fewer trainers, say --gpus %d, or --share-gpu", wanted, free, len(places), free)
	}
	return nil
}

// takeSeat holds one seat at a GPU.
func takeSeat(d cuda.Device, number int, kind string) (*os.File, error) {
	for at := range mostSeats {
		if held, err := sit(seatPath(d, kind, fmt.Sprint(at))); !errors.Is(err, errBusy) {
			return held, err
		}
	}
	return nil, badInputf("--kernels cuda: GPU %d (%s) has %d of dither's processes already; begin fewer", number, d.Name, mostSeats)
}

// leave gives seats back.
func leave(seats []seat) {
	for _, s := range seats {
		s.held.Close()
	}
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
	return locked(f)
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
