//go:build gpu

package cuda

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/dither-ml/dither/trainer/kernel"
)

// What Time runs is what work launched, once untimed and `runs` times more; then the stream takes launches as before.
func TestTimeRunsWhatWasRecorded(t *testing.T) {
	s := open(t)
	q := s.NewStream()
	const n, runs, times = 300, 4, 3
	k, err := s.Prepare(kernel.Elementwise(kernel.Add, n))
	if err != nil {
		t.Fatal(err)
	}
	args := []kernel.Memory{nil, nil, nil}
	for i := range args {
		if args[i], err = s.Alloc(kernel.Real, n); err != nil {
			t.Fatal(err)
		}
	}
	one := make([]float32, n)
	for i := range one {
		one[i] = 1
	}
	q.Write(args[1], one)
	args[2] = args[0] // x += 1
	got, err := q.(kernel.Timer).Time(runs, func() {
		for range times {
			k.Launch(q, args)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != runs || !slices.IsSorted(got) || got[0] <= 0 {
		t.Errorf("%d runs took %v", runs, got)
	}
	k.Launch(q, args)
	sum := make([]float32, n)
	q.Read(sum, args[0])
	if err := q.Sync(); err != nil {
		t.Fatal(err)
	}
	for i, v := range sum {
		if v != times*(runs+1)+1 {
			t.Fatalf("element %d was added to %v times, want %d", i, v, times*(runs+1)+1)
		}
	}
}

// The ceilings are what a device can have, of multiply-adds and of tensor cores.
func TestCeilings(t *testing.T) {
	for _, half := range []bool{false, true} {
		c, err := openWith(t, Options{Half: half}).(*set).Ceilings()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("half precision %v: %.3g FLOP/s, %.3g bytes/s, %v a launch", half, c.FLOPS, c.Bytes, c.Launch)
		for _, v := range []float64{c.FLOPS, c.Bytes} {
			if math.IsInf(v, 0) || v < 1e6 || v > 1e16 {
				t.Errorf("half precision %v: the device does %.3g a second", half, v)
			}
		}
		if c.Launch <= 0 || c.Launch > time.Second {
			t.Errorf("half precision %v: a launch takes %v", half, c.Launch)
		}
	}
}

// A Winograd convolution's parts are its launches, together they compute what it computes, and their bytes are those of their arguments.
func TestPartsAreTheWhole(t *testing.T) {
	s := open(t)
	op := kernel.Op{Kind: kernel.ConvForward, Groups: 1, N: 2, C: 8, H: 8, W: 8, K: 16, R: 3, Stride: 1, Block: 1}
	k, err := s.Prepare(op)
	if err != nil {
		t.Fatal(err)
	}
	q := s.NewStream()
	args, y := op.Args(), [2][]float32{}
	var memory []kernel.Memory
	for i, a := range args {
		m, err := s.Alloc(a.Type, a.Len())
		if err != nil {
			t.Fatal(err)
		}
		numbers := make([]float32, a.Len())
		for j := range numbers {
			numbers[j] = float32((j*7+i)%11) - 5
		}
		q.Write(m, numbers)
		memory = append(memory, m)
	}
	if n := k.Workspace(); n > 0 {
		m, err := s.Alloc(kernel.Real, n)
		if err != nil {
			t.Fatal(err)
		}
		memory = append(memory, m)
	}
	parts := k.(kernel.Parted).Parts()
	for i, launch := range []func(){
		func() { k.Launch(q, memory) },
		func() {
			for _, p := range parts {
				p.Kernel.Launch(q, memory)
			}
		},
	} {
		y[i] = make([]float32, args[2].Len())
		q.Write(memory[2], y[i])
		launch()
		q.Read(y[i], memory[2])
		if err := q.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(y[0], y[1]) || slices.Max(y[0]) == 0 {
		t.Errorf("the parts one by one give other numbers than the whole: %v and %v", y[1][:8], y[0][:8])
	}
	// Each argument, and each byte of the workspace, is read or written by somebody; what is in the workspace is written once and read once.
	want := args[0].Bytes() + args[1].Bytes() + args[2].Bytes() + 2*4*k.Workspace()
	sum := 0
	for _, p := range parts {
		sum += p.Bytes
	}
	if sum != want {
		t.Errorf("the %d parts move %d bytes, want %d", len(parts), sum, want)
	}
}

// The peak is what was allocated at once, and stays when it is freed.
func TestPeakMemory(t *testing.T) {
	s := open(t)
	peak := func() int64 {
		n, err := s.(kernel.Device).PeakMemoryBytes()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := peak(); n != 0 {
		t.Errorf("a new set has allocated %d bytes", n)
	}
	for _, n := range []int{1000, 500} {
		if _, err := s.Alloc(kernel.Real, n); err != nil {
			t.Fatal(err)
		}
	}
	if n := peak(); n != 6000 {
		t.Errorf("1500 numbers are %d bytes", n)
	}
	s.(*set).device.enqueue(func() error { s.(*set).device.taken(-2000); return nil }, "freeing")
	if n := peak(); n != 6000 {
		t.Errorf("the peak falls to %d bytes", n)
	}
}
