package program

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/kerneltest"
	"github.com/dither-ml/dither/trainer/kernel/ref"
)

func teamOf(t testing.TB, sets []kernel.Set, c TrainingConfig) *Team {
	t.Helper()
	p, err := NewTeam(sets, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// intoTeam makes the samples the input of the next step.
func (v samples) intoTeam(t testing.TB, p *Team) {
	t.Helper()
	at, size := 0, len(v.pixels)/len(v.labels)
	for _, to := range p.Rooms() {
		copy(to.Pixels, v.pixels[at*size:])
		copy(to.Geometry, v.geometry[3*at:])
		at += copy(to.Labels, v.labels[at:])
	}
	if at != len(v.labels) {
		t.Fatalf("there is room for %d samples of %d", at, len(v.labels))
	}
	if err := p.Send(); err != nil {
		t.Fatal(err)
	}
	if err := p.SendSoft(v.soft); err != nil {
		t.Fatal(err)
	}
}

// apartSets are n sets that work apart, each in another way: its step, what goes beside that, and what is between it and others.
func apartSets(t *testing.T, n, from int) (sets []kernel.Set) {
	orders := [][]bool{{true, true, true}, {true, false, false}, {false, true, false}, {false, false, true}, {true, true, false}, {false, false, false}}
	for i := range n {
		sets = append(sets, &kerneltest.Apart{Set: openCPU(t, 1), Eager: orders[(from+i)%len(orders)]})
	}
	return sets
}

// loneSets are those where none reaches another.
func loneSets(t *testing.T, n, from int) []kernel.Set {
	sets := apartSets(t, n, from)
	for _, s := range sets {
		s.(*kerneltest.Apart).Lone = true
	}
	return sets
}

// However many sets a trainer has, and however many trainers there are, the bits are those of one set with every shard.
func TestATeamHasTheBitsOfOneSet(t *testing.T) {
	for _, batchNorm := range []string{"shard", "global"} {
		c := smallConfig(small, 5, 2, batchNorm)
		one, seen := train(t, func() kernel.Set { return openCPU(t, 1) }, c, []int{5}, 3)
		for _, try := range []struct {
			sets  int
			owned []int
		}{{2, []int{5}}, {3, []int{5}}, {2, []int{3, 2}}, {4, []int{4, 1}}} {
			for what, sets := range map[string]func() []kernel.Set{
				"processors": func() (s []kernel.Set) {
					for range try.sets {
						s = append(s, openCPU(t, 1))
					}
					return s
				},
				"through the host":   func() []kernel.Set { return loneSets(t, try.sets, 0) },
				"late, and so":       func() []kernel.Set { return loneSets(t, try.sets, 2) },
				"apart":              func() []kernel.Set { return apartSets(t, try.sets, 0) },
				"apart, another way": func() []kernel.Set { return apartSets(t, try.sets, 2) },
				"apart, a third":     func() []kernel.Set { return apartSets(t, try.sets, 4) },
			} {
				other, theirs := trainTeams(t, sets, c, try.owned, 3)
				what := fmt.Sprintf("%s, %s: %d sets a trainer, shards owned %v", batchNorm, what, try.sets, try.owned)
				sameBits(t, what, other, one)
				sameBits(t, what, map[string][]float32{"losses and correct": theirs}, map[string][]float32{"losses and correct": seen})
			}
		}
	}
}

// Sets that reach each other and have every shard ask no collective; others do.
func TestATeamWithEveryShardNeedsNobody(t *testing.T) {
	c := smallConfig(small, 6, 2, "shard")
	for what, sets := range map[string][]kernel.Set{"processors": {openCPU(t, 1), openCPU(t, 1)}, "sets that reach nobody": loneSets(t, 2, 0)} {
		p := teamOf(t, sets, c)
		makeSamples(c.Batch, small.Shape, 1).intoTeam(t, p)
		if _, _, err := p.Step(nil); !errors.Is(err, errNoCollective) {
			t.Errorf("%s: a step without a collective gives %v", what, err)
		}
	}
	p := teamOf(t, apartSets(t, 3, 0), c)
	makeSamples(c.Batch, small.Shape, 1).intoTeam(t, p)
	if _, _, err := p.Step(nil); err != nil {
		t.Error(err)
	}
	c.Groups = 5
	if p := teamOf(t, apartSets(t, 3, 0), c); p.links != nil {
		t.Error("a team that lacks a shard sums alone")
	}
}

// The double sees what it is there for: where nothing waits for marks, the bits are others.
func TestWithoutMarksATeamsBitsAreOthers(t *testing.T) {
	c := smallConfig(small, 4, 2, "shard")
	one, _ := train(t, func() kernel.Set { return openCPU(t, 1) }, c, []int{4}, 2)
	p := teamOf(t, []kernel.Set{&kerneltest.Apart{Set: openCPU(t, 1), Eager: []bool{false, true, true}, Deaf: true}, &kerneltest.Apart{Set: openCPU(t, 1), Eager: []bool{false, true, true}, Deaf: true}}, c)
	loadStart(t, p.Parameters(), p.Load)
	for k := range 2 {
		makeSamples(c.Batch, small.Shape, uint64(k)).intoTeam(t, p)
		if _, _, err := p.Step(nil); err != nil {
			t.Fatal(err)
		}
		if err := p.Commit(0.05); err != nil {
			t.Fatal(err)
		}
	}
	for i, v := range keptState(t, p.First())["conv1.weight"] {
		if v != one["conv1.weight"][i] {
			return
		}
	}
	t.Error("marks that nothing waits for change nothing")
}

func TestATeamSpreadsShardsEvenly(t *testing.T) {
	for _, try := range []struct {
		sets, shards int
		want         []int
	}{{1, 3, []int{3}}, {2, 3, []int{1, 2}}, {3, 8, []int{2, 3, 3}}, {4, 2, []int{1, 1}}} {
		var sets []kernel.Set
		for range try.sets {
			sets = append(sets, openCPU(t, 1))
		}
		var got []int
		for _, m := range teamOf(t, sets, smallConfig(small, try.shards, 1, "shard")).members {
			got = append(got, m.config.Groups)
		}
		if !slices.Equal(got, try.want) {
			t.Errorf("%d shards on %d sets: %v, want %v", try.shards, try.sets, got, try.want)
		}
	}
}

// The state goes from a team to one of other sets, with the sums that an update was applied from.
func TestATeamsStateIsEveryMembers(t *testing.T) {
	c := smallConfig(small, 4, 2, "shard")
	a := teamOf(t, []kernel.Set{openCPU(t, 1), openCPU(t, 1)}, c)
	loadStart(t, a.Parameters(), a.Load)
	b := teamOf(t, apartSets(t, 3, 1), c)
	if err := b.CopyState(a); err != nil {
		t.Fatal(err)
	}
	makeSamples(c.Batch, small.Shape, 1).intoTeam(t, a)
	if _, _, err := a.Step(alone(4)); err != nil {
		t.Fatal(err)
	}
	sums := make([]float32, a.SumFloats())
	if err := a.Commit(0.1); err != nil {
		t.Fatal(err)
	}
	if err := a.Sums(sums); err != nil {
		t.Fatal(err)
	}
	if err := b.CommitSums(sums, 0.1); err != nil {
		t.Fatal(err)
	}
	for i, m := range b.members {
		sameBits(t, fmt.Sprintf("set %d of the other", i), keptState(t, m), keptState(t, a.First()))
	}
}

func TestATeamRefusesSetsThatAreNotAlike(t *testing.T) {
	_, err := NewTeam([]kernel.Set{openCPU(t, 1), ref.New()}, smallConfig(small, 2, 2, "shard"))
	if err == nil || !strings.Contains(err.Error(), "must be alike") {
		t.Errorf("a processor and the reference make a team: %v", err)
	}
}

func TestABrokenCollectiveFailsATeamsStep(t *testing.T) {
	c := smallConfig(small, 3, 2, "shard")
	for _, sets := range [][]kernel.Set{{openCPU(t, 1), openCPU(t, 1)}, loneSets(t, 2, 0), loneSets(t, 2, 2)} {
		p := teamOf(t, sets, c)
		loadStart(t, p.Parameters(), p.Load)
		all := makeSamples(c.Batch, small.Shape, 1)
		all.intoTeam(t, p)
		w := newWorld(3)
		w.broken = errors.New("the other trainer is gone")
		if _, _, err := p.Step(member{w, 0}); !errors.Is(err, w.broken) {
			t.Errorf("a step whose collective broke gives %v", err)
		}
		if err := p.Commit(0.1); !errors.Is(err, ErrNoStep) {
			t.Errorf("a step that failed could be committed: %v", err)
		}
		all.intoTeam(t, p)
		if _, _, err := p.Step(alone(3)); err != nil {
			t.Errorf("the step could not be done again: %v", err)
		}
	}
}
