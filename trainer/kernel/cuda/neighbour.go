//go:build gpu

package cuda

// #include <cuda.h>
import "C"

import (
	"fmt"
	"runtime"

	"github.com/dither-ml/dither/trainer/kernel"
)

var _ kernel.Neighbour = (*stream)(nil)

// Reaches implements kernel.Neighbour. What the driver calls peer access is asked for in this stream's context, which is the one that reads. Two contexts on one GPU are not neighbours to it.
func (s *stream) Reaches(from kernel.Stream) (reached bool, err error) {
	other, ok := from.(*stream)
	if !ok {
		return false, nil
	}
	d, o := s.device, other.device
	if d == o {
		return true, nil
	}
	if d.number == o.number { // two contexts of one GPU are no peers
		return false, nil
	}
	err = d.call(func() error {
		if d.err != nil {
			return d.err
		}
		var can C.int
		if err := result(C.cuDeviceCanAccessPeer(&can, C.CUdevice(d.number), C.CUdevice(o.number))); err != nil || can == 0 {
			return err
		}
		code := C.cuCtxEnablePeerAccess(o.context, 0)
		reached = code == C.CUDA_SUCCESS || code == C.CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED
		if reached || code == C.CUDA_ERROR_PEER_ACCESS_UNSUPPORTED || code == C.CUDA_ERROR_TOO_MANY_PEERS {
			return nil
		}
		return result(code)
	})
	if err != nil {
		return false, fmt.Errorf("%v: reaching the memory of %v: %w", d, o, err)
	}
	return reached, nil
}

// Fetch implements kernel.Neighbour.
func (s *stream) Fetch(dst kernel.Memory, from kernel.Stream, src kernel.Memory) {
	d, o := s.device, from.(*stream).device
	to, source := d.own(dst), o.own(src)
	if to.kind != source.kind || to.n != source.n {
		panic(fmt.Sprintf("kernel: a fetch of %d elements of type %d into %d of type %d", source.n, source.kind, to.n, to.kind))
	}
	d.untaped(s)
	s.put(task{copy: copying{memory: to.at, bytes: int64(to.n * sizes[to.kind]), source: o, from: source.at}, stream: s})
	runtime.KeepAlive(to) // until then: what frees it comes after. The source is its owner's to keep.
}

// fetch makes a copy from another device's memory the stream's, for the owner.
func (c *copying) fetch(s *stream) error {
	return result(C.cuMemcpyPeerAsync(C.CUdeviceptr(c.memory), s.device.context, C.CUdeviceptr(c.from), c.source.context, C.size_t(c.bytes), handle(s)))
}
