package kerneltest

import (
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
)

// recordings holds what the contract says of Recording, Mark and Pinned: 1, 2, 3, ... are added up on one stream, from numbers that another one brings, replay by replay.
func recordings(t *testing.T, set kernel.Set, allocates bool) {
	const n, times = 1024, 9
	op := kernel.Elementwise(kernel.Add, n)
	op.Block = 1 // in which every set takes it, of Real
	l := newLauncher(t, set, op)
	main, side := l.stream, set.NewStream()
	sum, x, taken := l.alloc(kernel.Real, n), l.alloc(kernel.Real, n), l.alloc(kernel.Real, n)
	give, given := hostReals(t, main, n)
	take, took := hostReals(t, main, n)
	bring := side.Record("bringing", func() { side.Write(x, give) })
	grow, double := []kernel.Memory{sum, x, sum}, []kernel.Memory{sum, sum, taken}
	add := main.Record("adding", func() {
		l.kernel.Launch(main, grow)
		l.kernel.Launch(main, double)
	})
	fetch := side.Record("fetching", func() { side.Read(take, taken) })
	brought, added, fetched := main.NewMark(), main.NewMark(), main.NewMark()
	if err := fetched.Wait(); err != nil {
		t.Fatalf("%s: a mark that was never set: %v", set.Name(), err)
	}
	added.Before(side)
	round := func(i int) {
		for j := range given {
			given[j] = float32(i + j%3)
		}
		bring.Replay()
		brought.Set(side)
		brought.Before(main)
		add.Replay()
		added.Set(main)
		added.Before(side)
		fetch.Replay()
		fetched.Set(side)
	}
	total := 0
	for i := 1; i <= times; i++ {
		round(i)
		total += i
		waited := make(chan error)
		go func() { waited <- fetched.Wait() }()
		if err := <-waited; err != nil {
			t.Fatalf("%s: %v", set.Name(), err)
		}
		for j, v := range took {
			if want := float32(2 * (total + i*(j%3))); v != want {
				t.Fatalf("%s: element %d after %d replays is %v, want %v", set.Name(), j, i, v, want)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		round(1)
		if err := fetched.Wait(); err != nil {
			t.Fatal(err)
		}
	}); n > 0 && !allocates {
		t.Errorf("%s: a replay allocates %v times", set.Name(), n)
	}
	if !set.Traits().Apart {
		return
	}
	defer func() {
		if recover() == nil {
			t.Errorf("%s: a copy from memory that is not pinned was recorded", set.Name())
		}
	}()
	main.Record("wrong", func() { main.Write(x, make([]float32, n)) })
}

// hostReals are n numbers of the host's for Write and Read, pinned where the set pins.
func hostReals(t *testing.T, s kernel.Stream, n int) (any, []float32) {
	t.Helper()
	p, err := s.Pin(kernel.Real, n)
	if err != nil {
		t.Fatal(err)
	}
	if p == nil {
		v := make([]float32, n)
		return v, v
	}
	return p, p.Host.([]float32)
}
