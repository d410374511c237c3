//go:build gpu

package cuda

import (
	"errors"
	"strings"

	"gorgonia.org/cu"
)

// remedies are what a person can do about results of the driver. Those of a fault are final for the process: its context computes no more.
var remedies = map[error]string{
	cu.EccUncorrectable:    "a part of the GPU's memory is damaged: `nvidia-smi -q -d ECC,ROW_REMAPPER` tells whether a reset mends it; take another GPU meanwhile",
	cu.NvlinkUncorrectable: "the link between GPUs is damaged: look at `nvidia-smi nvlink -e`; take another GPU meanwhile",
	cu.IllegalAddress:      defect,
	cu.MisalignedAddress:   defect,
	cu.InvalidAddressSpace: defect,
	cu.InvalidPc:           defect,
	cu.IllegalInstruction:  defect,
	cu.HardwareStackError:  defect,
	cu.LaunchFailed:        defect,
	cu.LaunchTimeout:       "a GPU that shows a screen ends long kernels: take one that does not",
	cu.NoBinaryForGpu:      noCode,
	cu.InvalidPtx:          noCode,
	cu.InvalidImage:        "trainer/kernel/cuda/kernels.fatbin is damaged: build dither-gpu again",
	cu.InvalidDevice:       busy,
	cu.SystemNotReady:      "its fabric is not up: look whether nvidia-fabricmanager runs",
}

const (
	defect = "a kernel did what it must not, by a defect of dither or of the GPU: CUDA_LAUNCH_BLOCKING=1 names the launch, compute-sanitizer the place, and `dmesg` (Xid) says what the driver saw"
	noCode = "dither-gpu has no code for this architecture: take a dither that has, another GPU, or add it to .ci/cuda and run `make cuda build-gpu`"
	busy   = "another process may have it to itself: look at what `nvidia-smi -q -d COMPUTE` says"
)

// nameless are results that gorgonia.org/cu does not know.
var nameless = map[string]string{
	"UnknownErrorCode:46":  "CUDA_ERROR_DEVICE_UNAVAILABLE: " + busy,
	"UnknownErrorCode:222": "CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the driver is older than the kernels' binary: install a newer one",
	"UnknownErrorCode:223": "CUDA_ERROR_JIT_COMPILATION_DISABLED: " + noCode,
}

// remedy is what can be done about err, to be written after it; "": nothing is known.
func remedy(err error) string {
	for result, words := range remedies {
		if errors.Is(err, result) {
			return ": " + words
		}
	}
	for result, words := range nameless {
		if strings.HasSuffix(err.Error(), result) {
			return ": " + words
		}
	}
	return ""
}
