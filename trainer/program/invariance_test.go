package program_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/dither-ml/dither/trainer/allreduce"
	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
	"github.com/dither-ml/dither/trainer/program"
)

const (
	tinyShards = 4
	tinyImages = 2 // of one shard
	tinyPixels = 3 * 8 * 8
	tinyKinds  = 4 // classes
)

func tiny(name, shortcut string) model.Spec {
	return model.Spec{Name: name, Shortcut: shortcut, Shape: model.Shape{Channels: 3, Height: 8, Width: 8, Classes: tinyKinds}}
}

func tinyConfig(m model.Spec, norm string, l model.Loss) program.TrainingConfig {
	return program.TrainingConfig{Model: m, Groups: tinyShards, Images: tinyImages, Batch: tinyShards * tinyImages, Shards: tinyShards, Loss: l,
		BatchNorm: norm, Momentum: 0.9, WeightDecay: 1e-3, Mean: mean, Std: std, Pad: 2}
}

// batch is a whole batch of random images.
type batch struct {
	pixels           []byte
	geometry, labels []int32
	soft             []float32
}

func randomBatch(r *rand.Rand, n int) batch {
	b := batch{pixels: make([]byte, n*tinyPixels)}
	for i := range b.pixels {
		b.pixels[i] = byte(r.IntN(256))
	}
	for range n {
		b.geometry = append(b.geometry, int32(r.IntN(5)), int32(r.IntN(5)), int32(r.IntN(2)))
		b.labels = append(b.labels, int32(r.IntN(tinyKinds)))
		for range tinyKinds {
			b.soft = append(b.soft, float32(r.NormFloat64()))
		}
	}
	return b
}

// images are the samples [from, to).
func (b batch) images(from, to int) batch {
	return batch{b.pixels[from*tinyPixels : to*tinyPixels], b.geometry[3*from : 3*to], b.labels[from:to], b.soft[from*tinyKinds : to*tinyKinds]}
}

func (b batch) into(p *program.Training) error {
	return p.Input(b.pixels, b.geometry, b.labels, b.soft)
}

// randomStart loads the same parameters into any program of a network.
func randomStart(t testing.TB, p loader) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for _, q := range p.Parameters() {
		v := make([]float32, q.Len())
		for i := range v {
			switch q.Kind {
			case model.Gamma, model.Variance:
				v[i] = float32(1 + 0.2*r.Float64())
			case model.Weight:
				v[i] = float32(r.NormFloat64() * math.Sqrt(2/float64(q.FanIn)))
			default:
				v[i] = float32(0.1 * r.NormFloat64())
			}
		}
		if err := p.Load(q.Name, v); err != nil {
			t.Fatal(err)
		}
	}
}

// stateOf is every parameter, running statistic and momentum.
func stateOf(t testing.TB, p *program.Training) map[string][]float32 {
	t.Helper()
	all := map[string][]float32{}
	for _, q := range p.Parameters() {
		v := make([]float32, q.Len())
		if err := p.Read(q.Name, v); err != nil {
			t.Fatal(err)
		}
		all[q.Name] = v
		if q.Trainable {
			m := make([]float32, q.Len())
			if err := p.ReadMomentum(q.Name, m); err != nil {
				t.Fatal(err)
			}
			all["momentum of "+q.Name] = m
		}
	}
	return all
}

func sameBits(t testing.TB, what string, got, want map[string][]float32) {
	t.Helper()
	for name, w := range want {
		for i := range w {
			if math.Float32bits(got[name][i]) != math.Float32bits(w[i]) {
				t.Fatalf("%s: element %d of %s is %v, not %v", what, i, name, got[name][i], w[i])
			}
		}
	}
}

// trainAll puts the batches through trainers with so many shards each, and gives each trainer's end state and all losses by shard.
func trainAll(t *testing.T, set func() kernel.Set, c program.TrainingConfig, owned []int, batches []batch) ([]map[string][]float32, [][]float32) {
	t.Helper()
	var ranges []allreduce.Range
	for first, i := 0, 0; i < len(owned); i++ {
		ranges = append(ranges, allreduce.Range{First: first, End: first + owned[i]})
		first += owned[i]
	}
	mem := allreduce.NewMemory(len(owned), allreduce.MemoryOptions{})
	states := make([]map[string][]float32, len(owned))
	losses := make([][]float32, len(batches))
	for k := range losses {
		losses[k] = make([]float32, 2*c.Shards)
	}
	programs := make([]*program.Training, len(owned))
	var all sync.WaitGroup
	for rank, own := range ranges {
		mine := c
		mine.Groups = own.End - own.First
		p, err := program.NewTraining(set(), mine)
		if err != nil {
			t.Fatal(err)
		}
		randomStart(t, p)
		programs[rank] = p
		all.Go(func() {
			// The small chunk cuts buckets, so that several trainers own parts of each.
			reducer := allreduce.New(allreduce.Group{Rank: rank, Ranges: ranges}, mem.Rank(rank), allreduce.Options{ChunkFloats: 1000})
			defer reducer.Close()
			for k, b := range batches {
				if err := b.images(own.First*c.Images, own.End*c.Images).into(p); err != nil {
					t.Error(err)
					return
				}
				reducer.Begin(uint32(k + 1))
				loss, correct, err := p.Step(reducer)
				if err != nil {
					t.Error(err)
					return
				}
				copy(losses[k][own.First:own.End], loss)
				copy(losses[k][c.Shards+own.First:], correct)
				if err := p.Commit(0.1); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	for rank, p := range programs {
		states[rank] = stateOf(t, p)
	}
	return states, losses
}

func TestBitsDoNotDependOnWhoOwnsTheShards(t *testing.T) {
	set := generic(t)
	r := rand.New(rand.NewPCG(3, 4))
	batches := []batch{randomBatch(r, tinyShards*tinyImages), randomBatch(r, tinyShards*tinyImages)}
	for _, net := range []model.Spec{tiny("resnet8", "A"), tiny("resnet8", "B"), tiny("mlp", "")} {
		for _, norm := range []string{"shard", "global"} {
			if net.Name == "mlp" && norm == "global" {
				continue
			}
			t.Run(net.Name+net.Shortcut+"/"+norm, func(t *testing.T) {
				c := tinyConfig(net, norm, model.Loss{Quadratic: 0.5, KD: 0.3, CE: 0.2, Temperature: 4})
				same := func() kernel.Set { return set }
				alone, wantLosses := trainAll(t, same, c, []int{4}, batches)
				for _, owned := range [][]int{{2, 2}, {1, 1, 1, 1}, {3, 1}, {1, 2, 1}, {1, 3}} {
					states, losses := trainAll(t, same, c, owned, batches)
					for rank, s := range states {
						sameBits(t, fmt.Sprintf("rank %d of %v", rank, owned), s, alone[0])
					}
					for k := range losses {
						sameBits(t, fmt.Sprintf("losses of %v", owned), map[string][]float32{"losses": losses[k]}, map[string][]float32{"losses": wantLosses[k]})
					}
				}
			})
		}
	}
}
