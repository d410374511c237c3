//go:build gpu

package cuda

// #include <cuda.h>
import "C"

import (
	"fmt"
	"unsafe"
)

// pinned gives host memory that the device copies to and from by itself, which gorgonia.org/cu does not. It lives as long as the context.
func pinned(bytes int) ([]byte, error) {
	var p unsafe.Pointer
	if code := C.cuMemAllocHost(&p, C.size_t(bytes)); code != C.CUDA_SUCCESS {
		return nil, fmt.Errorf("allocating %d bytes of pinned memory: %s", bytes, codeName(code))
	}
	return unsafe.Slice((*byte)(p), bytes), nil
}
