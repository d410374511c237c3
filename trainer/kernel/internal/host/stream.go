package host

import (
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
)

// Stream does everything at once: what was enqueued is done.
type Stream[F Real] struct{}

// Write implements kernel.Stream.
func (Stream[F]) Write(dst kernel.Memory, src any) {
	m := Of[F](dst)
	switch s := src.(type) {
	case []float32:
		convert(m.Real, s, m.kind == kernel.Real)
	case []float64:
		convert(m.Real, s, m.kind == kernel.Real)
	case []uint8:
		same(m.Byte, s, m.kind == kernel.Byte)
	case []int32:
		same(m.Int, s, m.kind == kernel.Int)
	default:
		panic(fmt.Sprintf("kernel: %T can't be written", src))
	}
}

// Read implements kernel.Stream.
func (Stream[F]) Read(dst any, src kernel.Memory) {
	m := Of[F](src)
	switch d := dst.(type) {
	case []float32:
		convert(d, m.Real, m.kind == kernel.Real)
	case []float64:
		convert(d, m.Real, m.kind == kernel.Real)
	case []uint8:
		same(d, m.Byte, m.kind == kernel.Byte)
	case []int32:
		same(d, m.Int, m.kind == kernel.Int)
	default:
		panic(fmt.Sprintf("kernel: %T can't be read into", dst))
	}
}

// Sync implements kernel.Stream.
func (Stream[F]) Sync() error { return nil }

// Host implements kernel.Stream.
func (Stream[F]) Host(m kernel.Memory) []float32 {
	s, _ := any(Of[F](m).Real).([]float32)
	return s
}

func convert[D, S Real](dst []D, src []S, typed bool) {
	fits(len(dst), len(src), typed)
	if d, ok := any(dst).([]S); ok {
		copy(d, src)
		return
	}
	for i, v := range src {
		dst[i] = D(v)
	}
}

func same[E any](dst, src []E, typed bool) {
	fits(len(dst), len(src), typed)
	copy(dst, src)
}

func fits(dst, src int, typed bool) {
	if !typed || dst != src {
		panic(fmt.Sprintf("kernel: copy of %d elements into %d, or between types", src, dst))
	}
}

// recording is what enqueues the work: there is nothing to save by telling it once.
type recording func()

// Replay implements kernel.Recording.
func (r recording) Replay() { r() }

// Record implements kernel.Stream.
func (Stream[F]) Record(_ string, do func()) kernel.Recording { return recording(do) }

// Pin implements kernel.Stream.
func (Stream[F]) Pin(kernel.Type, int) (*kernel.Pinned, error) { return nil, nil }

// mark is where everything is done.
type mark struct{}

// Set implements kernel.Mark.
func (mark) Set(kernel.Stream) {}

// Before implements kernel.Mark.
func (mark) Before(kernel.Stream) {}

// Wait implements kernel.Mark.
func (mark) Wait() error { return nil }

// NewMark implements kernel.Stream.
func (Stream[F]) NewMark() kernel.Mark { return mark{} }
