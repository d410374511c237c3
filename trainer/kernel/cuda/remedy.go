//go:build gpu

package cuda

import (
	"errors"

	"gorgonia.org/cu"
)

// known is what is known of a result of the driver.
type known struct {
	remedy string // what a person can do about it
	late   bool   // what a kernel or the GPU has done, maybe long ago: the next call of any kind is told, and the context computes no more
}

// results are those of which something is known, by what gorgonia.org/cu says of them.
var results = map[string]known{
	cu.EccUncorrectable.Error():    {"a part of the GPU's memory is damaged: `nvidia-smi -q -d ECC,ROW_REMAPPER` tells whether a reset mends it; take another GPU meanwhile", true},
	cu.NvlinkUncorrectable.Error(): {"the link between GPUs is damaged: look at `nvidia-smi nvlink -e`; take another GPU meanwhile", true},
	cu.Unknown.Error():             {lost, true},
	cu.IllegalAddress.Error():      {defect, true},
	cu.MisalignedAddress.Error():   {defect, true},
	cu.InvalidAddressSpace.Error(): {defect, true},
	cu.InvalidPc.Error():           {defect, true},
	cu.IllegalInstruction.Error():  {defect, true},
	cu.HardwareStackError.Error():  {defect, true},
	cu.LaunchFailed.Error():        {defect, true},
	cu.Assert.Error():              {defect, true},
	cu.LaunchTimeout.Error():       {"a GPU that shows a screen ends long kernels: take one that does not", true},
	cu.NoBinaryForGpu.Error():      {remedy: noCode},
	cu.InvalidPtx.Error():          {remedy: noCode},
	cu.InvalidImage.Error():        {remedy: "trainer/kernel/cuda/kernels.fatbin is damaged: build dither-gpu again"},
	cu.InvalidDevice.Error():       {remedy: busy},
	cu.SystemNotReady.Error():      {remedy: "its fabric is not up: look whether nvidia-fabricmanager runs"},
	// gorgonia.org/cu has no names for these.
	"UnknownErrorCode:46":  {remedy: "CUDA_ERROR_DEVICE_UNAVAILABLE: " + busy},
	"UnknownErrorCode:222": {remedy: "CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the driver is older than the kernels' binary: install a newer one"},
	"UnknownErrorCode:223": {remedy: "CUDA_ERROR_JIT_COMPILATION_DISABLED: " + noCode},
	"UnknownErrorCode:226": {"CUDA_ERROR_CONTAINED: " + lost, true},
}

const (
	defect = "a kernel did what it must not, by a defect of dither or of the GPU: CUDA_LAUNCH_BLOCKING=1 names the launch, compute-sanitizer the place, and `dmesg` (Xid) says what the driver saw"
	lost   = "the GPU may be lost: `dmesg` (Xid; 79: it fell off the bus) says what the driver saw, and `nvidia-smi` whether it is still there; take another GPU meanwhile"
	noCode = "dither-gpu has no code for this architecture: take a dither that has, another GPU, or add it to .ci/cuda and run `make cuda build-gpu`"
	busy   = "another process may have it to itself: look at what `nvidia-smi -q -d COMPUTE` says"
)

// knownOf is what is known of the result that err is of, which it may be wrapped around.
func knownOf(err error) known {
	for ; err != nil; err = errors.Unwrap(err) {
		if k, ok := results[err.Error()]; ok {
			return k
		}
	}
	return known{}
}

// remedy is what can be done about err, to be written after it; "": nothing is known.
func remedy(err error) string {
	if k := knownOf(err); k.remedy != "" {
		return ": " + k.remedy
	}
	return ""
}
