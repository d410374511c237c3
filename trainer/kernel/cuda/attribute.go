//go:build gpu

package cuda

// #include <cuda.h>
import "C"

import (
	"fmt"
	"unsafe"
)

// freeShared is the bytes of shared memory that a block may have without asking.
const freeShared = 48 << 10

// allow lets the function's blocks have so many bytes of dynamic shared memory, which gorgonia.org/cu cannot ask for.
func (f *function) allow(shared int) error {
	if shared <= max(freeShared, f.shared) {
		return nil
	}
	handle := *(*C.CUfunction)(unsafe.Pointer(&f.Function)) // all that a cu.Function holds
	if err := result(C.cuFuncSetAttribute(handle, C.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, C.int(shared))); err != nil {
		return fmt.Errorf("giving blocks of %s %d bytes of shared memory: %w", f.name, shared, err)
	}
	f.shared = shared
	return nil
}
