//go:build gpu

package cuda

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/dither-ml/dither/trainer/kernel"
)

// mostArgs is the arguments of a kind at most, the workspace being one.
const mostArgs = 24

// blockThreads is the threads of a block whose threads share nothing, so that it is no part of the arithmetic.
const blockThreads = 128

// prepared is an op as launches, one after the other.
type prepared struct {
	kernel.Op
	args     []kernel.Arg
	device   *device
	scratch  int // Real elements of workspace
	longest  int // threads of a launch
	err      error
	launches []launch
	counters []*memory // of its own, kept as long as it is
}

// launch is a kernel of src on so many blocks of so many threads. Its parameters lie in cells; those that are pointers are known when it is launched.
type launch struct {
	name     string
	blocks   int
	threads  int // of a block
	shared   int // bytes of dynamic shared memory of a block
	function *function
	cells    []uint64
	params   []unsafe.Pointer // the cells
	pointers []pointer
}

// place is where a pointer points: `from` elements into an argument; the workspace comes after the last.
type place struct{ arg, from int }

type pointer struct {
	cell, arg int
	bytes     uint64
}

// arg is the beginning of an argument.
func (*prepared) arg(i int) place { return place{i, 0} }

// reserve gives the place of n elements of the workspace.
func (k *prepared) reserve(n int) place {
	p := place{len(k.args), k.scratch}
	k.scratch += n
	return p
}

// stride is the elements between the groups' parts of an argument: 0 where they share one.
func (k *prepared) stride(arg int) int {
	if a := k.args[arg]; a.Parts > 1 {
		return a.Stride
	}
	return 0
}

// count gives n integers of the kernel's own, zeros when it is prepared: tickets of blocks, for the last of them to put back to 0.
func (k *prepared) count(n int) *memory {
	m, err := k.device.alloc(kernel.Int, n)
	if err != nil {
		k.err = err
		return &memory{}
	}
	k.counters = append(k.counters, m)
	return m
}

// add adds a launch of so many threads, each by itself.
func (k *prepared) add(name string, threads int, params ...any) {
	k.longest = max(k.longest, threads)
	k.addBlocks(name, ceil(threads, blockThreads), blockThreads, 0, params...)
}

// addBlocks adds a launch of blocks of so many threads with so many bytes of dynamic shared memory. Parameters are places, memories of the kernel's own, int, bool, float32 and float64, in the order of the source.
func (k *prepared) addBlocks(name string, blocks, threads, shared int, params ...any) {
	l := launch{name: name, blocks: blocks, threads: threads, shared: shared, cells: make([]uint64, len(params))}
	for i, p := range params {
		l.params = append(l.params, unsafe.Pointer(&l.cells[i]))
		switch v := p.(type) {
		case place:
			kind := kernel.Real
			if v.arg < len(k.args) {
				kind = k.args[v.arg].Type
			}
			l.pointers = append(l.pointers, pointer{i, v.arg, uint64(v.from * sizes[kind])})
		case *memory:
			l.cells[i] = uint64(v.at)
		case int:
			l.cells[i] = uint64(uint32(int32(v)))
		case bool:
			if v {
				l.cells[i] = 1
			}
		case float32:
			l.cells[i] = uint64(math.Float32bits(v))
		case float64:
			l.cells[i] = math.Float64bits(v)
		default:
			panic(fmt.Sprintf("kernel: parameter %d of %s is a %T", i, name, p))
		}
	}
	k.launches = append(k.launches, l)
}

// finish finds the kernels in the module. They count with 32 bits.
func (k *prepared) finish() error {
	if k.err != nil {
		return k.err
	}
	longest := max(k.scratch, k.longest)
	for _, a := range k.args {
		longest = max(longest, a.Len())
	}
	if longest > math.MaxInt32-blockThreads {
		return fmt.Errorf("%v: more than 2^31 elements or threads: use a smaller batch or fewer images at a time: %w", k.Op, kernel.ErrUnsupported)
	}
	return k.device.call(func() (err error) {
		for i := range k.launches {
			l := &k.launches[i]
			if l.function, err = k.device.function(l.name); err == nil {
				err = l.function.allow(l.shared, k.device.shared)
			}
			if err != nil {
				return fmt.Errorf("%v: %w", k.Op, err)
			}
		}
		return nil
	})
}

// Workspace implements kernel.Kernel.
func (k *prepared) Workspace() int { return k.scratch }

// Launch implements kernel.Kernel. The owner takes it from the queue.
func (k *prepared) Launch(s kernel.Stream, args []kernel.Memory) {
	own, ok := s.(*stream)
	if !ok || own.device != k.device {
		panic(fmt.Sprintf("kernel: %T is another set's stream", s))
	}
	n := len(k.args)
	if k.scratch > 0 {
		n++
	}
	if len(args) != n {
		panic(fmt.Sprintf("kernel: %v takes %d arguments, got %d", k.Op, n, len(args)))
	}
	t := task{kernel: k, stream: own}
	for i, arg := range args {
		m, length, kind := k.device.own(arg), k.scratch, kernel.Real
		if i < len(k.args) {
			length, kind = k.args[i].Len(), k.args[i].Type
		}
		if m.kind != kind || m.n < length {
			panic(fmt.Sprintf("kernel: argument %d of %v has %d elements of type %d, wants %d of type %d", i, k.Op, m.n, m.kind, length, kind))
		}
		t.args[i] = m.at
	}
	own.put(t)
	runtime.KeepAlive(args) // until then: what frees them comes after
}

// launch enqueues the launches, for the owner.
func (k *prepared) launch(s *stream, args *[mostArgs]cu.DevicePtr) error {
	for i := range k.launches {
		l := &k.launches[i]
		for _, p := range l.pointers {
			l.cells[p.cell] = uint64(args[p.arg]) + p.bytes
		}
		if err := l.function.Launch(l.blocks, 1, 1, l.threads, 1, 1, l.shared, s.queue, l.params); err != nil {
			return fmt.Errorf("launching %s: %w", l.name, err)
		}
		l.function.launches++
	}
	return nil
}
