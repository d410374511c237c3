package allreduce

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/dither-ml/dither/trainer/allreduce/wire"
	"github.com/dither-ml/dither/trainer/kernel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// treeSum is what every all-reduce must give: all shards, one element at a time, in tree order.
func treeSum(shards [][]float32) []float32 {
	sum := make([]float32, len(shards[0]))
	var node func(a, b, i int) float32
	node = func(a, b, i int) float32 {
		if b-a == 1 {
			return shards[a][i]
		}
		m := kernel.Split(a, b)
		return node(a, m, i) + node(m, b, i)
	}
	for i := range sum {
		sum[i] = node(0, len(shards), i)
	}
	return sum
}

// orderSensitive are shards whose sum differs with its order.
func orderSensitive(shards, floats int, seed uint64) [][]float32 {
	random := rand.New(rand.NewPCG(seed, 1))
	all := make([][]float32, shards)
	for s := range all {
		all[s] = make([]float32, floats)
		for i := range all[s] {
			all[s][i] = []float32{1e8, 1, -1e8, 0.1, -3, float32(math.Copysign(0, -1))}[random.IntN(6)]
		}
	}
	return all
}

func same(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// job is several collectives of several iterations over the same shards.
type job struct {
	ranges     []Range
	options    Options
	iterations int
	buckets    [][][]float32 // [bucket][shard][floats]
	waitOrder  []int
}

// trainer does the job on one rank and compares every sum with want.
func (j *job) trainer(r *Reducer, rank int, want [][]float32) error {
	own := j.ranges[rank]
	for k := range j.iterations {
		r.Begin(uint32(k + 1))
		for id, shards := range j.buckets {
			r.Start(uint32(id), shards[own.First:own.End])
		}
		for _, id := range j.waitOrder {
			sum := make([]float32, len(want[id]))
			if err := r.Wait(uint32(id), sum); err != nil {
				return err
			}
			if !same(sum, want[id]) {
				return fmt.Errorf("rank %d of %v, iteration %d, collective %d: sum\n%v, want\n%v", rank, j.ranges, k+1, id, sum, want[id])
			}
		}
	}
	return nil
}

// run does the job on every rank. Each trainer closes as soon as it is done.
func (j *job) run(transports []Transport) error {
	var want [][]float32
	for _, shards := range j.buckets {
		want = append(want, treeSum(shards))
	}
	return together(len(j.ranges), func(rank int) error {
		r := New(Group{Rank: rank, Ranges: j.ranges}, transports[rank], j.options)
		err := j.trainer(r, rank, want)
		if err != nil {
			r.Abort(err)
			return err
		}
		r.Close()
		return nil
	})
}

func TestTheOrderShowsInTheValues(t *testing.T) {
	shards := [][]float32{{1e8}, {1}, {-1e8}, {1}, {1}}
	if got := treeSum(shards)[0]; got != 1 {
		t.Fatalf("the tree's sum is %v, want 1", got)
	}
	chain := float32(0)
	for _, s := range shards {
		chain += s[0]
	}
	if chain != 2 {
		t.Fatalf("the chain's sum is %v, want 2: the values no longer tell orders apart", chain)
	}
}

func TestSubtreeSums(t *testing.T) {
	for shards := 1; shards <= 19; shards++ {
		for _, floats := range []int{1, 7, sumBlock - 1, sumBlock, 2*sumBlock + 3} {
			all := orderSensitive(shards, floats+5, uint64(shards))
			got := make([]float32, floats)
			newAdder(shards).sum(got, all, 5)
			if want := treeSum(all)[5:]; !same(got, want) {
				t.Fatalf("%d shards of %d floats: sum %v, want %v", shards, floats, got, want)
			}
		}
	}
}

// The same bits for every number of trainers.
func TestSameBitsForEveryNumberOfTrainers(t *testing.T) {
	before := wire.Outstanding()
	for _, shards := range []int{1, 2, 5, 8, 12} {
		for trainers := 1; trainers <= shards; trainers++ {
			j := job{ranges: equalRanges(shards, trainers), options: Options{ChunkFloats: 40}, iterations: 2, waitOrder: []int{2, 0, 1},
				buckets: [][][]float32{orderSensitive(shards, 1000, 1), orderSensitive(shards, 1, 2), orderSensitive(shards, 123, 3)}}
			var ts []Transport
			if trainers == 1 {
				ts = []Transport{nil}
			} else {
				ts = memoryTransports(trainers, MemoryOptions{})
			}
			if err := j.run(ts); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := wire.Outstanding() - before; n != 0 {
		t.Errorf("%d buffers leaked", n)
	}
}

func TestAnyRangesAndSizes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shards := rapid.IntRange(1, 17).Draw(t, "shards")
		trainers := rapid.IntRange(1, min(shards, 6)).Draw(t, "trainers")
		j := job{ranges: ranges(t, shards, trainers), options: Options{ChunkFloats: rapid.IntRange(1, 70).Draw(t, "chunk")}, iterations: rapid.IntRange(1, 3).Draw(t, "iterations")}
		for id := range rapid.IntRange(1, 4).Draw(t, "buckets") {
			floats := rapid.OneOf(rapid.IntRange(0, 10), rapid.IntRange(11, 600)).Draw(t, "floats")
			j.buckets = append(j.buckets, orderSensitive(shards, floats, uint64(id)))
			j.waitOrder = append(j.waitOrder, id)
		}
		j.waitOrder = rapid.Permutation(j.waitOrder).Draw(t, "order")
		queue := rapid.IntRange(1, 3).Draw(t, "queue")
		if err := j.run(memoryTransports(trainers, MemoryOptions{Queue: queue})); err != nil {
			t.Fatal(err)
		}
	})
}

func TestMisusePanics(t *testing.T) {
	two := []Range{{0, 2}, {2, 3}}
	for name, f := range map[string]func(r *Reducer){
		"no Begin": func(r *Reducer) { r.Start(0, [][]float32{{1}, {2}, {3}}) },
		"started twice": func(r *Reducer) {
			r.Begin(1)
			r.Start(0, [][]float32{{1}, {2}, {3}})
			r.Start(0, [][]float32{{1}, {2}, {3}})
		},
		"never started":       func(r *Reducer) { r.Begin(1); r.Wait(0, nil) },
		"number of shards":    func(r *Reducer) { r.Begin(1); r.Start(0, [][]float32{{1}}) },
		"lengths":             func(r *Reducer) { r.Begin(1); r.Start(0, [][]float32{{1}, {2}, {3, 4}}) },
		"length of the sum":   func(r *Reducer) { r.Begin(1); r.Start(0, [][]float32{{1}, {2}, {3}}); r.Wait(0, make([]float32, 2)) },
		"Begin before Wait":   func(r *Reducer) { r.Begin(1); r.Start(0, [][]float32{{1}, {2}, {3}}); r.Begin(2) },
		"Begin goes back":     func(r *Reducer) { r.Begin(2); r.Begin(1) },
		"rank":                func(*Reducer) { New(Group{Rank: 2, Ranges: two}, nil, Options{}) },
		"chunks too large":    func(*Reducer) { New(Group{Ranges: []Range{{0, 1}}}, nil, Options{ChunkFloats: MaxChunkFloats + 1}) },
		"no transport":        func(*Reducer) { New(Group{Ranges: two}, nil, Options{}) },
		"a gap in the shards": func(*Reducer) { New(Group{Ranges: []Range{{0, 1}, {2, 3}}}, nil, Options{}) },
	} {
		r := New(Group{Ranges: []Range{{0, 3}}}, nil, Options{})
		mustPanic(t, name, func() { f(r) })
		r.Close()
	}
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}
