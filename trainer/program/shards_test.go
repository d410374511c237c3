package program

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/ref"
	"github.com/dither-ml/dither/trainer/model"
)

var small = model.Spec{Name: "resnet8", Shortcut: "A", Shape: model.Shape{Channels: 2, Height: 9, Width: 7, Classes: 5}}

func smallConfig(spec model.Spec, shards, perShard int, batchNorm string) TrainingConfig {
	mean, std := normalised(spec.Channels)
	return TrainingConfig{Model: spec, Groups: shards, Images: perShard, Batch: shards * perShard, Shards: shards,
		Loss: model.Loss{Quadratic: 0.5, KD: 0.3, CE: 0.2, Temperature: 3}, BatchNorm: batchNorm, Momentum: 0.9, WeightDecay: 1e-3, Mean: mean, Std: std, Pad: pad}
}

// train takes steps with the shards spread over trainers that own so many each, and gives the state, the losses and correct images of every shard.
func train(t *testing.T, set func() kernel.Set, c TrainingConfig, owned []int, steps int) (map[string][]float32, []float32) {
	t.Helper()
	return trainTeams(t, func() []kernel.Set { return []kernel.Set{set()} }, c, owned, steps)
}

// trainTeams is train where each trainer has several sets.
func trainTeams(t *testing.T, sets func() []kernel.Set, c TrainingConfig, owned []int, steps int) (map[string][]float32, []float32) {
	t.Helper()
	var trainers []*Team
	for _, n := range owned {
		c.Groups = n
		p := teamOf(t, sets(), c)
		loadStart(t, p.Parameters(), p.Load)
		trainers = append(trainers, p)
	}
	var seen []float32
	for k := range steps {
		all := makeSamples(c.Batch, c.Model.Shape, uint64(k))
		w := newWorld(c.Shards)
		scores := make([][]float32, len(owned))
		errs := make([]error, len(owned))
		var wg sync.WaitGroup
		first := 0
		for i, p := range trainers {
			all.part(first*c.Images, (first+owned[i])*c.Images, c.Model.Shape).intoTeam(t, p)
			from := first
			wg.Go(func() {
				losses, correct, err := p.Step(member{w, from})
				scores[i], errs[i] = append(append([]float32{}, losses...), correct...), err
			})
			first += owned[i]
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		for i, p := range trainers {
			seen = append(seen, scores[i][:owned[i]]...)
			if err := p.Commit(0.05); err != nil {
				t.Fatal(err)
			}
		}
		for i := range trainers {
			seen = append(seen, scores[i][owned[i]:]...)
		}
	}
	state := keptState(t, trainers[0].First())
	for i, p := range trainers {
		for j, m := range p.members {
			sameBits(t, fmt.Sprintf("set %d of trainer %d beside the first", j, i), keptState(t, m), state)
		}
	}
	return state, seen
}

func TestBitsDoNotDependOnWhoOwnsTheShards(t *testing.T) {
	for _, batchNorm := range []string{"shard", "global"} {
		for _, spec := range []model.Spec{small, {Name: "resnet8", Shortcut: "B", Shape: small.Shape}, {Name: "mlp", Shape: small.Shape}} {
			t.Run(batchNorm+" "+spec.Name+spec.Shortcut, func(t *testing.T) {
				const shards = 5
				c := smallConfig(spec, shards, 3, batchNorm)
				one, seen := train(t, func() kernel.Set { return openCPU(t, 1) }, c, []int{shards}, 3)
				for _, owned := range [][]int{{2, 3}, {4, 1}, {1, 1, 1, 1, 1}} {
					threads := len(owned) - 1
					other, theirs := train(t, func() kernel.Set { return openCPU(t, threads) }, c, owned, 3)
					what := fmt.Sprintf("shards owned %v", owned)
					sameBits(t, what, other, one)
					sameBits(t, what, map[string][]float32{"losses and correct": theirs}, map[string][]float32{"losses and correct": seen})
				}
			})
		}
	}
}

func TestGlobalBatchNormIsThatOfOneShard(t *testing.T) {
	const batch = 12
	step := func(shards int, batchNorm string) map[string][]float32 {
		c := smallConfig(small, shards, batch/shards, batchNorm)
		state, _ := train(t, ref.New, c, []int{shards}, 1)
		return state
	}
	whole := step(1, "shard")
	for name, c := range map[string]map[string][]float32{"global, 1 shard": step(1, "global"), "global, 4 shards": step(4, "global"), "global, 3 shards": step(3, "global")} {
		for q, want := range whole {
			if d := away(widen(c[q]), widen(want)); !(d <= 1e-5) {
				t.Errorf("%s: %s is %.1e away from that of one shard", name, q, d)
			}
		}
	}
	var worst float64
	for q, v := range step(4, "shard") {
		worst = max(worst, away(widen(v), widen(whole[q])))
	}
	if worst < 1e-2 {
		t.Errorf("statistics over a shard give what those over the batch give, within %.1e: the test sees nothing", worst)
	}
}

func TestAStepChangesNothingUntilItIsCommitted(t *testing.T) {
	p := newTraining(t, openCPU(t, 1), smallConfig(small, 2, 3, "shard"))
	loadStart(t, p.Parameters(), p.Load)
	makeSamples(6, small.Shape, 1).into(t, p)
	commit := func() {
		if _, _, err := p.Step(alone(2)); err != nil {
			t.Fatal(err)
		}
		if err := p.Commit(0.1); err != nil {
			t.Fatal(err)
		}
	}
	commit() // so that momentum is not zero
	before := keptState(t, p)
	for range 2 {
		if _, _, err := p.Step(alone(2)); err != nil {
			t.Fatal(err)
		}
	}
	sameBits(t, "after two steps", keptState(t, p), before)
	commit()
	after := keptState(t, p)
	for name, v := range before {
		same := true
		for i := range v {
			same = same && v[i] == after[name][i]
		}
		if same {
			t.Errorf("a commit left %s as it was", name)
		}
	}
}

func TestABrokenCollectiveFailsTheStepAndLeavesTheStateAsItWas(t *testing.T) {
	for _, batchNorm := range []string{"shard", "global"} {
		c := smallConfig(small, 3, 3, batchNorm)
		c.Groups = 2
		p := newTraining(t, openCPU(t, 1), c)
		loadStart(t, p.Parameters(), p.Load)
		makeSamples(6, small.Shape, 1).into(t, p)
		before := keptState(t, p)
		w := newWorld(3)
		w.broken = errors.New("the other trainer is gone")
		if _, _, err := p.Step(member{w, 0}); !errors.Is(err, w.broken) {
			t.Errorf("%s: a step whose collective broke gives %v", batchNorm, err)
		}
		if err := p.Commit(0.1); err == nil {
			t.Errorf("%s: a step that failed could be committed", batchNorm)
		}
		sameBits(t, batchNorm, keptState(t, p), before)
	}
}
