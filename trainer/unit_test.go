package trainer

import (
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dither-ml/dither/noise/elementary"
	"github.com/dither-ml/dither/noise/philox"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/checkpoint"
	"github.com/dither-ml/dither/trainer/model"
)

func TestLearningRate(t *testing.T) {
	steps := &ditherv1.OptimizerSpec{Lr: 0.5, Gamma: 0.1, Milestones: []uint32{10, 20}, Warmup: 4}
	within := &ditherv1.OptimizerSpec{Lr: 1, Gamma: 0.5, Milestones: []uint32{2}, Warmup: 8}
	for _, c := range []struct {
		o    *ditherv1.OptimizerSpec
		k    uint32
		want float64
	}{
		{steps, 1, 0.125}, {steps, 3, 0.375}, {steps, 4, 0.5}, {steps, 5, 0.5}, {steps, 10, 0.5}, {steps, 11, 0.05}, {steps, 20, 0.05}, {steps, 21, 0.005},
		{within, 2, 0.25}, {within, 4, 0.25}, {within, 8, 0.5},
		{&ditherv1.OptimizerSpec{Lr: 0.3}, 1, 0.3}, {&ditherv1.OptimizerSpec{Lr: 0.3, Warmup: 1}, 1, 0.3},
	} {
		if got := LearningRate(c.o, c.k); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("iteration %d of %v has the rate %v, want %v", c.k, c.o, got, c.want)
		}
	}
}

func TestInitialWeightsAreHes(t *testing.T) {
	const n, fan = 40001, 50
	p := model.Parameter{Name: "w", Shape: []int{n}, Trainable: true, Kind: model.Weight, FanIn: fan}
	v, again := make([]float32, n), make([]float32, n)
	for _, x := range [][]float32{v, again} {
		if err := initial(7, p, 3, x); err != nil {
			t.Fatal(err)
		}
	}
	var m1, m2, m4 float64
	for i, x := range v {
		if x != again[i] {
			t.Fatalf("element %d is drawn as %v, then %v", i, x, again[i])
		}
		z := elementary.Normals(philox.At(7, philox.Init, 0, 3, uint32(i/4)))[i%4]
		if want := float32(math.Sqrt(2.0/fan) * z); x != want {
			t.Fatalf("element %d is %v, and its counter says %v", i, x, want)
		}
		y := float64(x) * math.Sqrt(fan/2.0)
		m1, m2, m4 = m1+y/n, m2+y*y/n, m4+y*y*y*y/n
	}
	// Five standard errors of each moment of a normal: 1, 2 and 96.
	for moment, e := range map[string][3]float64{"mean": {m1, 0, 1}, "variance": {m2, 1, 2}, "fourth moment": {m4, 3, 96}} {
		if math.Abs(e[0]-e[1]) > 5*math.Sqrt(e[2]/n) {
			t.Errorf("the %s is %v, want %v", moment, e[0], e[1])
		}
	}
	other := make([]float32, n)
	if err := initial(7, p, 4, other); err != nil {
		t.Fatal(err)
	}
	if other[0] == v[0] && other[1] == v[1] {
		t.Error("two parameters have the same draws")
	}
}

func TestInitialConstants(t *testing.T) {
	for kind, want := range map[model.Kind]float32{model.Gamma: 1, model.Variance: 1, model.Beta: 0, model.Bias: 0, model.Mean: 0} {
		v := []float32{5, 6, 7}
		if err := initial(1, model.Parameter{Kind: kind}, 0, v); err != nil {
			t.Fatal(err)
		}
		for _, x := range v {
			if x != want {
				t.Errorf("kind %d begins at %v, want %v", kind, x, want)
			}
		}
	}
	if initial(1, model.Parameter{Name: "x"}, 0, nil) == nil {
		t.Error("a parameter of no kind was given a start")
	}
}

func TestMetricsCarryWhatEachShardSays(t *testing.T) {
	all := []shardMetrics{{0.5, 7, 0.25, false, "0123456789abcdef"}, {0.25, 5, 2, false, "ffffffffffffffff"}, {0.125, 3, 0, false, "0000000000000001"}}
	sum := make([]float32, slots*3)
	for i, m := range all { // each in a vector of its own, summed
		v := make([]float32, len(sum))
		m.write(v[slots*i:])
		for j := range sum {
			sum[j] += v[j]
		}
	}
	o := &ditherv1.OptimizerSpec{Lr: 0.25}
	record := &ditherv1.IterationRecord{}
	stop, err := judge(sum, o, 9, true, record)
	if err != nil || stop || record.GetLoss() != 0.875 || record.GetCorrect() != 15 || record.GetLr() != 0.25 || record.GetIteration() != 9 {
		t.Errorf("judged %v, stop %v, error %v", record, stop, err)
	}
	for i, m := range all {
		if record.GetLabelDigests()[i] != m.digest || record.GetShardSeconds()[i] != m.seconds {
			t.Errorf("shard %d says %v, and the record %v", i, m, record)
		}
	}
	bare := &ditherv1.IterationRecord{}
	if _, err := judge(sum, o, 9, false, bare); err != nil || len(bare.GetLabelDigests()) > 0 {
		t.Errorf("without soft labels the digests are %v", bare.GetLabelDigests())
	}
	sum[slots*1+slotStop] = 1
	if stop, err = judge(sum, o, 9, true, &ditherv1.IterationRecord{}); !stop || err != nil {
		t.Errorf("the stop of one shard gives stop %v, error %v", stop, err)
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		sum[slots*2+slotLoss] = float32(bad)
		_, err = judge(sum, o, 9, true, &ditherv1.IterationRecord{})
		if !errors.Is(err, ErrDiverged) || !strings.Contains(err.Error(), "iteration 9 in shard 2") || !strings.Contains(err.Error(), "--lr (now 0.25)") {
			t.Errorf("a loss of %v gives the error %v", bad, err)
		}
	}
}

func TestDigest(t *testing.T) {
	// sha256 of 0000803f 000000c0, the little-endian bytes of 1 and -2.
	if got := digest([]float32{1, -2}); got != "ee4ac73c2bd27756" {
		t.Errorf("the digest is %s", got)
	}
	if digest([]float32{0}) == digest([]float32{float32(math.Copysign(0, -1))}) {
		t.Error("0 and -0 have one digest, and other bits")
	}
}

// TestACopyThatComesFirstAnswersARequest: who asks for the state may be the one for whom the loop waits in its iteration, where it takes no requests.
func TestACopyThatComesFirstAnswersARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffer()
		got := make(chan uint32, 1)
		go func() {
			k, err := o.state(t.Context(), 6)
			if err != nil {
				t.Error(err)
				return
			}
			got <- k.iteration()
		}()
		synctest.Wait() // until the request waits for the loop
		for k := range uint32(7) {
			o.keep(&kept{snapshot: &checkpoint.Checkpoint{Meta: checkpoint.Meta{Iteration: k}}})
		}
		select {
		case k := <-got:
			if k != 6 {
				t.Errorf("the state after iteration %d was given", k)
			}
		case <-time.After(time.Minute):
			t.Error("the request still waits for the loop")
		}
	})
}
