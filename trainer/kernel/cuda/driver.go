package cuda

import (
	"fmt"
	"strings"
)

// NeedsDriver is the CUDA version, as the driver counts (1000 major + 10 minor), of the oldest driver that takes kernels.fatbin: that of the compiler that made it.
const NeedsDriver = 13000

// needsCompute is the oldest architecture that kernels.fatbin has code for, 10 major + minor.
const needsCompute = 80

// Device is a GPU as the driver shows it; CUDA_VISIBLE_DEVICES hides some and orders the others.
type Device struct {
	Name    string `json:"name"`
	UUID    string `json:"uuid"`    // of the board: the same for every process, whatever is visible to it
	Compute int    `json:"compute"` // capability, 10 major + minor: 80, 90
	Bytes   int64  `json:"bytes"`   // of memory, free or not
}

// Driver is what the driver's library says of itself and of this machine.
type Driver struct {
	Version int      `json:"version"` // the newest CUDA that it speaks, as NeedsDriver counts
	Devices []Device `json:"devices"` // by index
}

// Check says why nothing can be computed with this driver; visible is CUDA_VISIBLE_DEVICES, and set whether there is such a variable.
func (d Driver) Check(visible string, set bool) error {
	if d.Version < NeedsDriver {
		return fmt.Errorf("the NVIDIA driver speaks CUDA %s and the kernels need %s: install a newer driver, or build with an older compiler (docs/gpu.md)", version(d.Version), version(NeedsDriver))
	}
	if len(d.Devices) == 0 {
		return NoDevice(visible, set)
	}
	for i, v := range d.Devices {
		if v.Compute < needsCompute {
			return fmt.Errorf("GPU %d, %s, is of compute capability %d.%d and the kernels need %d.%d: hide it by CUDA_VISIBLE_DEVICES", i, v.Name, v.Compute/10, v.Compute%10, needsCompute/10, needsCompute%10)
		}
	}
	return nil
}

// NoDevice says why no GPU is seen.
func NoDevice(visible string, set bool) error {
	switch {
	case set && strings.TrimSpace(visible) == "":
		return fmt.Errorf("CUDA_VISIBLE_DEVICES is set and empty, which hides every GPU: unset it, or name GPUs in it (CUDA_VISIBLE_DEVICES=0)")
	case set:
		return fmt.Errorf("CUDA_VISIBLE_DEVICES=%s shows no GPU of this machine: name those that nvidia-smi -L lists", visible)
	}
	return fmt.Errorf("there is an NVIDIA driver and no GPU: a container has to be given one (docs/gpu.md)")
}

func version(v int) string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }
