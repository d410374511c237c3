//go:build gpu

package cuda

// #include <cuda.h>
import "C"

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/dither-ml/dither/trainer/kernel"
)

// freeShared is the bytes of shared memory that a block may have without asking.
const freeShared = 48 << 10

// mostSharedOf is the bytes of shared memory that a block of a GPU may ask for.
func mostSharedOf(gpu cu.Device) (int, error) {
	return gpu.Attribute(cu.DeviceAttribute(C.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN))
}

// allow lets the function's blocks have so many bytes of dynamic shared memory, of at most so many that the GPU gives, which gorgonia.org/cu cannot ask for.
func (f *function) allow(shared, most int) error {
	if shared <= max(freeShared, f.shared) {
		return nil
	}
	if shared > most {
		return fmt.Errorf("a block of %s needs %d bytes of shared memory, and this GPU gives at most %d: --precision fp32 needs none: %w", f.name, shared, most, kernel.ErrUnsupported)
	}
	handle := *(*C.CUfunction)(unsafe.Pointer(&f.Function)) // all that a cu.Function holds
	if err := result(C.cuFuncSetAttribute(handle, C.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, C.int(shared))); err != nil {
		return fmt.Errorf("giving blocks of %s %d bytes of shared memory: %w", f.name, shared, err)
	}
	f.shared = shared
	return nil
}
