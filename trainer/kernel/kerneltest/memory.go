package kerneltest

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/dither-ml/dither/trainer/kernel"
)

// allocations holds that a launch of any kind, fused or not, allocates nothing.
func allocations(t *testing.T, set kernel.Set) {
	var all []kernel.Op
	r := rand.New(rand.NewPCG(1, 1))
	for _, kind := range kernel.Kinds() {
		op := ops[kind](r)
		op.Kind = kind
		all = append(all, op)
	}
	if set.Traits().Fuses {
		for _, what := range fusions() {
			all = append(all, fused(r, what))
		}
	}
	for _, op := range all {
		l := newLauncher(t, set, op)
		var args []kernel.Memory
		for i, d := range values(r, op) {
			_, inner := l.buffer(l.args[i], l.before(i, d))
			args = append(args, inner)
		}
		if n := l.kernel.Workspace(); n > 0 {
			args = append(args, l.alloc(kernel.Real, n))
		}
		// Everybody's allocations are counted: those of what fills the arguments, unless it is done, and now and then of a collection that comes between. A launch's own are there each time.
		n := 1.0
		for try := 0; try < 3 && n > 0; try++ {
			l.sync()
			n = testing.AllocsPerRun(5, func() { l.kernel.Launch(l.stream, args) })
		}
		if n > 0 {
			t.Errorf("%s: %v: %v allocations a launch", set.Name(), op, n)
		}
		l.sync()
	}
}

// memory holds what the contract says of Memory and Stream.
func memory(t *testing.T, set kernel.Set) {
	l := &launcher{t: t, set: set, stream: set.NewStream()}
	kinds := []kernel.Type{kernel.Real, kernel.Byte, kernel.Int}
	if set.Traits().Half {
		kinds = append(kinds, kernel.Half)
	} else if _, err := set.Alloc(kernel.Half, 8); err == nil {
		t.Errorf("%s: memory of bfloat16, which it does not compute in", set.Name())
	}
	for _, kind := range kinds {
		for _, n := range []int{-1, 1 << 50} {
			if _, err := set.Alloc(kind, n); err == nil || !strings.Contains(err.Error(), strconv.Itoa(n)) {
				t.Errorf("%s: Alloc of %d elements gave the error %v, want one that says how many", set.Name(), n, err)
			}
		}
		l.alloc(kind, 0)
	}
	m := l.alloc(kernel.Real, 10)
	got := make([]float32, 10)
	l.stream.Read(got, m)
	l.sync()
	for _, v := range got {
		if v != 0 {
			t.Fatalf("%s: new memory holds %v, want zeros", set.Name(), v)
		}
	}
	part := m.Slice(3, 7)
	l.stream.Write(part, []float32{1, 2, 3, 4})
	l.stream.Write(part.Slice(1, 2), []float64{9.5})
	wide := make([]float64, 10)
	l.stream.Read(wide, m)
	l.stream.Read(got, m)
	l.sync()
	for i, want := range []float64{0, 0, 0, 1, 9.5, 3, 4, 0, 0, 0} {
		if wide[i] != want || got[i] != float32(want) {
			t.Errorf("%s: element %d reads as %v and %v, want %v", set.Name(), i, wide[i], got[i], want)
		}
	}
	if h := l.stream.Host(m); h != nil {
		if h[4] != 9.5 || len(h) != 10 {
			t.Errorf("%s: the host sees %v", set.Name(), h)
		}
		for _, n := range []int{1, 3, 1000, 70000} {
			if at := uintptr(unsafe.Pointer(&l.stream.Host(l.alloc(kernel.Real, n))[0])); at%64 != 0 {
				t.Errorf("%s: memory of %d elements is at %#x, want a multiple of 64", set.Name(), n, at)
			}
		}
	}
	defer func() {
		if recover() == nil {
			t.Errorf("%s: another set's memory was taken", set.Name())
		}
	}()
	l.stream.Write(nobodys{}, []float32{})
}

// nobodys is memory of no set.
type nobodys struct{}

func (nobodys) Type() kernel.Type            { return kernel.Real }
func (nobodys) Len() int                     { return 0 }
func (nobodys) Slice(_, _ int) kernel.Memory { return nobodys{} }
