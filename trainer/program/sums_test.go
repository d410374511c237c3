package program

import (
	"slices"
	"sync"
	"testing"

	"github.com/dither-ml/dither/trainer/model"
)

// TestSumsCommittedElsewhereGiveTheSameBits follows two trainers with programs that own other shards, and with one that is lowered anew on the way.
func TestSumsCommittedElsewhereGiveTheSameBits(t *testing.T) {
	for _, batchNorm := range []string{"shard", "global"} {
		for _, spec := range []model.Spec{small, {Name: "mlp", Shape: small.Shape}} {
			c := smallConfig(spec, 3, 3, batchNorm)
			with := func(groups int) *Training {
				c := c
				c.Groups = groups
				p := newTraining(t, openCPU(t, 1), c)
				loadStart(t, p.Parameters(), p.Load)
				return p
			}
			trainers := []*Training{with(2), with(1)}
			followers := map[string]*Training{"one of three shards": with(1), "two": with(2), "all": with(3)}
			for k := range 4 {
				all, w := makeSamples(c.Batch, spec.Shape, uint64(k)), newWorld(3)
				var wg sync.WaitGroup
				for i, p := range trainers {
					first := 2 * i
					all.part(first*c.Images, (first+p.config.Groups)*c.Images, spec.Shape).into(t, p)
					wg.Go(func() {
						if _, _, err := p.Step(member{w, first}); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				sums := make([]float32, trainers[0].SumFloats())
				if k%2 == 0 { // what is committed can be read before and after
					if err := trainers[0].Sums(sums); err != nil {
						t.Fatal(err)
					}
				}
				for _, p := range trainers {
					if err := p.Commit(0.05); err != nil {
						t.Fatal(err)
					}
				}
				if k%2 == 1 {
					if err := trainers[1].Sums(sums); err != nil {
						t.Fatal(err)
					}
				}
				if !slices.ContainsFunc(sums, func(v float32) bool { return v != 0 }) {
					t.Fatal("the sums are all zero")
				}
				for _, p := range followers {
					if err := p.CommitSums(sums, 0.05); err != nil {
						t.Fatal(err)
					}
				}
				moved := with(3)
				if err := moved.CopyState(followers["one of three shards"]); err != nil {
					t.Fatal(err)
				}
				followers["moved"] = moved
			}
			want := keptState(t, trainers[0])
			for name, p := range followers {
				sameBits(t, batchNorm+" "+spec.Name+", "+name, keptState(t, p), want)
				if p.Commit(0.05) == nil {
					t.Errorf("%s: sums could be committed twice", name)
				}
			}
		}
	}
}

func TestSumsOfAnotherNetworkAreRefused(t *testing.T) {
	p := newTraining(t, openCPU(t, 1), smallConfig(small, 1, 3, "shard"))
	if p.Sums(make([]float32, 5)) == nil || p.CommitSums(make([]float32, p.SumFloats()+1), 0.1) == nil {
		t.Error("sums of another length were taken")
	}
	if err := p.CopyState(newTraining(t, openCPU(t, 1), smallConfig(model.Spec{Name: "mlp", Shape: small.Shape}, 1, 3, "shard"))); err == nil {
		t.Error("the state of another network was taken")
	}
}
