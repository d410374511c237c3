//go:build linux

package vector

import (
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fence is memory between two pages that nobody may touch: whoever reads or writes beyond it faults.
type fence struct {
	pages []byte
	page  int
}

func newFence(t *testing.T, bytes int) *fence {
	page := unix.Getpagesize()
	size := (bytes+page-1)/page*page + 2*page
	pages, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(pages); err != nil {
			t.Error(err)
		}
	})
	for _, p := range [][]byte{pages[:page], pages[size-page:]} {
		if err := unix.Mprotect(p, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return &fence{pages, page}
}

// place copies v to the fence's beginning, or to its end.
func (f *fence) place(v []float32, end bool) []float32 {
	inside := f.pages[f.page : len(f.pages)-f.page]
	at := 0
	if end {
		at = len(inside) - 4*len(v)
	}
	placed := unsafe.Slice((*float32)(unsafe.Pointer(&inside[at:][0])), len(v))
	copy(placed, v)
	return placed
}

// Nothing beyond a call's buffers is read or written, not even what has no effect: the next page may be nobody's.
func TestNothingBeyondTheBuffersIsTouched(t *testing.T) {
	const buffers, bytes = 10, 1 << 20
	var fences []*fence
	for range buffers {
		fences = append(fences, newFence(t, bytes))
	}
	for _, set := range Sets() {
		for _, name := range slices.Sorted(maps.Keys(calls)) {
			for seed := range uint64(60) {
				m := &memory{r: rand.New(rand.NewPCG(seed, 2)), value: kinds["normal"]}
				c, shape := calls[name](m)
				for i, b := range m.buffers {
					if b.size > 0 {
						m.buffers[i] = buffer{all: fences[i].place(b.all[b.first:][:b.size], seed%2 == 0), size: b.size}
					}
				}
				if faults(func() { c(set, m) }) {
					t.Errorf("%s of %s touches what is beyond its buffers: seed %d, %s", name, set.Name, seed, shape)
				}
			}
		}
	}
}

func TestWindowsTouchNothingBeyondTheirBuffers(t *testing.T) {
	x, u, y, dw, src, dst := newFence(t, 1<<16), newFence(t, 1<<16), newFence(t, 1<<16), newFence(t, 1<<16), newFence(t, 1<<16), newFence(t, 1<<16)
	for _, set := range Sets() {
		for depth := 1; depth <= 50; depth++ {
			for _, end := range []bool{true, false} {
				p := Window{Pixels: 8, Pieces: 2, Depth: depth, Cols: 16 * (1 + depth%5), Block: 8 * Lanes}
				p.Piece = p.Depth * p.Cols
				offsets, from, to := []int{0, 7}, []int{0, 3, 1, 2, 9, 9, 4, 5}, make([]int, 8)
				for i := range to {
					to[i] = (7 - i) * Lanes
				}
				source, weights, pixels := x.place(make([]float32, 16+depth), end), u.place(make([]float32, 2*p.Piece), end), y.place(make([]float32, 8*p.Cols), end)
				if faults(func() { set.Convolve(&p, &source[0], &from[0], &offsets[0], &weights[0], &pixels[0], &to[0]) }) {
					t.Errorf("Convolve of %s touches what is beyond its buffers: %+v", set.Name, p)
				}
				gradient := dw.place(make([]float32, 2*p.Piece), end)
				if faults(func() { set.ConvolveGrad(&p, &source[0], &from[0], &offsets[0], &pixels[0], &gradient[0], &to[0]) }) {
					t.Errorf("ConvolveGrad of %s touches what is beyond its buffers: %+v", set.Name, p)
				}
				rows, cols := depth, 1+depth*7%40
				places, columns := make([]int, rows), make([]int, cols)
				for i := range places {
					places[i] = i * cols
				}
				for i := range columns {
					columns[i] = i * rows
				}
				a, b := src.place(make([]float32, rows*cols), end), dst.place(make([]float32, rows*cols), end)
				if faults(func() { set.Transpose(&b[0], &columns[0], &a[0], &places[0], rows, cols) }) {
					t.Errorf("Transpose of %s touches what is beyond its buffers: %d rows, %d columns", set.Name, rows, cols)
				}
			}
		}
	}
}

// faults says whether do touches memory that it may not.
func faults(do func()) (fault bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { fault = recover() != nil }()
	do()
	return false
}
