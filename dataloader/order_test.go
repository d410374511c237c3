package dataloader

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

const testSeed = 0x0123456789abcdef

// The draws below were computed from the documented layout by a program of its own, in Python.
func TestDrawsAsDocumented(t *testing.T) {
	var ids []uint32
	for i := range uint32(10) {
		ids = append(ids, 100+i)
	}
	o, err := NewOrder(testSeed, ids, 5)
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range map[uint32][]uint32{1: {100, 107, 106, 105, 103}, 2: {109, 108, 102, 104, 101}, 3: {105, 102, 100, 104, 108}, 4: {106, 109, 101, 103, 107}} {
		if got := o.Batch(k, nil); !slices.Equal(got, want) {
			t.Errorf("iteration %d takes %d, want %d", k, got, want)
		}
	}
	train, validation := Split(testSeed, 10, 0.2)
	if want := []uint32{3, 7}; !slices.Equal(validation, want) {
		t.Errorf("validation %d, want %d", validation, want)
	}
	if want := []uint32{0, 1, 2, 4, 5, 6, 8, 9}; !slices.Equal(train, want) {
		t.Errorf("train %d, want %d", train, want)
	}
	for _, c := range []struct {
		epoch, sample uint32
		want          Geometry
	}{{0, 0, Geometry{4, 0, 0}}, {3, 7, Geometry{0, 5, 1}}, {200, 49999, Geometry{1, 1, 0}}} {
		if got := View(testSeed, c.epoch, c.sample, true, true, 4); got != c.want {
			t.Errorf("view of sample %d in epoch %d is %v, want %v", c.sample, c.epoch, got, c.want)
		}
	}
}

func TestEveryEpochIsAPermutation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		samples := rapid.SliceOfNDistinct(rapid.Uint32(), 1, 50, rapid.ID).Draw(t, "samples")
		batch := rapid.IntRange(1, len(samples)).Draw(t, "batch")
		o, err := NewOrder(rapid.Uint64().Draw(t, "seed"), samples, batch)
		if err != nil {
			t.Fatal(err)
		}
		if o.PerEpoch() != len(samples)/batch {
			t.Fatalf("%d iterations an epoch for %d samples in batches of %d", o.PerEpoch(), len(samples), batch)
		}
		k := uint32(0)
		for epoch := range uint32(3) {
			seen := map[uint32]bool{}
			for range o.PerEpoch() {
				k++
				if o.Epoch(k) != epoch {
					t.Fatalf("iteration %d is in epoch %d, want %d", k, o.Epoch(k), epoch)
				}
				b := o.Batch(k, nil)
				if len(b) != batch {
					t.Fatalf("iteration %d takes %d samples, want %d", k, len(b), batch)
				}
				for _, s := range b {
					if seen[s] || !slices.Contains(samples, s) {
						t.Fatalf("iteration %d takes sample %d, which is taken twice or is none", k, s)
					}
					seen[s] = true
				}
			}
			if len(seen) != o.PerEpoch()*batch {
				t.Fatalf("epoch %d takes %d samples, want %d", epoch, len(seen), o.PerEpoch()*batch)
			}
		}
	})
}

// Any iteration asked for directly, of an Order of any past, is the one that a walk from the start finds.
func TestDirectEqualsSequential(t *testing.T) {
	samples, _ := Split(5, 47, 0.2)
	walk, err := NewOrder(5, samples, 9)
	if err != nil {
		t.Fatal(err)
	}
	var want [][]uint32
	for k := range uint32(40) {
		want = append(want, walk.Batch(k+1, nil))
	}
	rapid.Check(t, func(t *rapid.T) {
		o, err := NewOrder(5, samples, 9)
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]uint32, 3, 12)
		for _, k := range rapid.SliceOfN(rapid.Uint32Range(1, 40), 1, 20).Draw(t, "iterations") {
			if dst = o.Batch(k, dst); !slices.Equal(dst, want[k-1]) {
				t.Fatalf("iteration %d takes %d, want %d", k, dst, want[k-1])
			}
		}
	})
}

func TestConcurrentBatches(t *testing.T) {
	samples, _ := Split(6, 100, 0)
	o, err := NewOrder(6, samples, 10)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range uint32(8) {
		wg.Go(func() {
			own, err := NewOrder(6, samples, 10)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range uint32(60) {
				k := 1 + (i+7*g)%60
				if got, want := o.Batch(k, nil), own.Batch(k, nil); !slices.Equal(got, want) {
					t.Errorf("iteration %d takes %d, want %d", k, got, want)
				}
			}
		})
	}
	wg.Wait()
}

func TestBatchAllocatesNothing(t *testing.T) {
	samples, _ := Split(6, 1000, 0)
	o, err := NewOrder(6, samples, 100)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]uint32, 100)
	k := uint32(0)
	// Two users, one of them an epoch ahead, as the trainer and whoever prefetches for it are.
	o.Batch(1, dst)
	o.Batch(11, dst)
	if n := testing.AllocsPerRun(100, func() {
		k++
		dst = o.Batch(1+k%2*10, dst)
	}); n != 0 {
		t.Errorf("%v allocations for a batch of an epoch in use, want 0", n)
	}
}

func TestBatchThatDoesNotFit(t *testing.T) {
	for _, batch := range []int{-1, 0, 4} {
		if _, err := NewOrder(1, []uint32{1, 2, 3}, batch); !errors.Is(err, ErrBatch) {
			t.Errorf("batch %d of 3 samples: %v, want ErrBatch", batch, err)
		}
	}
}

func TestIterationsCountFromOne(t *testing.T) {
	o, err := NewOrder(1, []uint32{1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("iteration 0 has a batch")
		}
	}()
	o.Batch(0, nil)
}

func TestSplitIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 300).Draw(t, "n")
		percent := rapid.IntRange(0, 100).Draw(t, "percent")
		train, validation := Split(rapid.Uint64().Draw(t, "seed"), n, float64(percent)/100)
		if want := (n*percent + 50) / 100; len(validation) != want {
			t.Fatalf("%d of %d held out at %d %%, want %d", len(validation), n, percent, want)
		}
		if !slices.IsSorted(train) || !slices.IsSorted(validation) {
			t.Fatalf("not ascending: %d, %d", train, validation)
		}
		all := append(slices.Clone(train), validation...)
		slices.Sort(all)
		for i, s := range all {
			if s != uint32(i) {
				t.Fatalf("sample %d is missing or there twice", i)
			}
		}
		if len(all) != n {
			t.Fatalf("%d samples of %d", len(all), n)
		}
	})
}

func TestSeedsAndEpochsDiffer(t *testing.T) {
	samples, _ := Split(1, 1000, 0)
	a, _ := NewOrder(1, samples, 1000)
	b, _ := NewOrder(2, samples, 1000)
	c, _ := NewOrder(1<<32|1, samples, 1000)
	first := a.Batch(1, nil)
	for name, other := range map[string][]uint32{"epoch": a.Batch(2, nil), "seed": b.Batch(1, nil), "high half of the seed": c.Batch(1, nil)} {
		same := 0
		for i := range first {
			if first[i] == other[i] {
				same++
			}
		}
		if same > 10 { // expected: 1
			t.Errorf("another %s leaves %d of 1000 samples in place", name, same)
		}
	}
}
