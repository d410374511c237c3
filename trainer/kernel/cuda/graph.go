//go:build gpu

package cuda

// #include <cuda.h>
import "C"

import (
	"unsafe"

	"gorgonia.org/cu"
)

// What gorgonia.org/cu does not wrap: graphs that are captured, and events for whoever waits. All but wait are for the owner.

// result is a driver's answer as cu's errors are.
func result(code C.CUresult) error { return errorOf(cu.Success, int(code)) }

// errorOf makes an error of cu's type, which has no name outside of it.
func errorOf[R interface {
	~int
	error
}](success R, code int) error {
	if R(code) == success {
		return nil
	}
	return R(code)
}

type graphHandle = C.CUgraphExec

func handle(s *stream) C.CUstream { return C.CUstream(unsafe.Pointer(s.queue.C())) }

// capture makes a graph of what enqueue gives the stream, which does none of it. Other threads are free to allocate meanwhile, and a kernel may be loaded: the capture is a relaxed one.
func capture(s *stream, enqueue func() error) (graph C.CUgraphExec, err error) {
	if err := result(C.cuStreamBeginCapture(handle(s), C.CU_STREAM_CAPTURE_MODE_RELAXED)); err != nil {
		return nil, err
	}
	var captured C.CUgraph
	err = enqueue()
	ended := result(C.cuStreamEndCapture(handle(s), &captured))
	if err == nil {
		err = ended
	}
	if err == nil {
		err = result(C.cuGraphInstantiate(&graph, captured, 0))
	}
	if captured != nil {
		C.cuGraphDestroy(captured)
	}
	return graph, err
}

func replay(graph C.CUgraphExec, s *stream) error { return result(C.cuGraphLaunch(graph, handle(s))) }

func forget(graph C.CUgraphExec) error { return result(C.cuGraphExecDestroy(graph)) }
