package kernel

import "time"

// What a set on a device of its own can say beside the contract, for who measures. The sets of the processor say none of it: their time is the host's
// clock's, and their memory the process's.

// Timer is what a Stream may be too: it tells the time that its device takes.
type Timer interface {
	// Time has work enqueue launches, once, and then runs them as they were recorded: once untimed, and `runs` times between two events of the device. It gives
	// those times in ascending order. They hold the gaps between the launches on the device, and nothing that the host does. work only launches.
	Time(runs int, work func()) ([]time.Duration, error)
}

// Parted is what a Kernel may be too: several kernels of the device's, one after the other.
type Parted interface {
	// Parts are they, in order. A Part's Kernel takes the arguments of the whole.
	Parts() []Part
}

// Part is one of the device's kernels that a Kernel consists of.
type Part struct {
	Name   string // in the source
	Bytes  int    // what it reads and writes, each number once, what is added to twice
	Kernel Kernel
}

// Device is what a Set may be too: its memory is not the host's.
type Device interface {
	// PeakMemoryBytes is the most that was allocated at any time.
	PeakMemoryBytes() (int64, error)
	// Ceilings measures what the device does at best, by kernels that do nothing else: some tens of milliseconds, and several times its cache of memory for as long.
	Ceilings() (Ceilings, error)
}

// Ceilings are what a device does at best.
type Ceilings struct {
	FLOPS  float64       // multiplications and additions a second, of chains in registers: of fused multiply-adds or, in half precision, products on tensor cores
	Bytes  float64       // a second, read and written, of a copy far larger than the cache
	Launch time.Duration // of a kernel that does nothing, among many recorded ones
}

// Bytes are what an argument takes, read or written once, what is added to twice.
func (a Arg) Bytes() int {
	n := a.Parts * a.Part * a.Type.Size()
	if a.Access == InOut {
		n *= 2
	}
	return n
}
