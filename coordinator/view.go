package coordinator

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dither-ml/dither/coordinator/quorum"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// status is the state for people; t.mu is held.
func (t *term) status() *ditherv1.StatusResponse {
	out := &ditherv1.StatusResponse{Run: t.config.Run, SpecSha256: t.config.SpecSHA256, Phase: string(t.decision.Phase), Reason: t.decision.Reason,
		Iteration: t.iteration, Iterations: t.config.Spec.GetIterations(), Loss: t.loss, Coordinator: t.address,
		IterationsPerSecond: t.rate(), ImagesPerSecond: t.rate() * float64(t.config.Spec.GetBatch()), Notes: slices.Clone(t.decision.Notes)}
	for _, about := range slices.Sorted(maps.Keys(t.troubles)) {
		out.Notes = append(out.Notes, t.troubles[about])
	}
	if t.generation != nil {
		out.Generation, out.GenerationReason = t.generation.Number, t.generation.Reason
	}
	for _, p := range t.trainers(time.Now()) {
		shown := onTheWire(p.Member, roleTrainer)
		if shown.Iterations, shown.Doing = p.Iteration, p.Doing; !p.Connected && p.Silent >= time.Second {
			shown.Doing = fmt.Sprintf("not heard for %v", p.Silent.Round(time.Second))
		}
		if rank := t.rank(p.Member); rank >= 0 {
			seat := t.generation.Seats[rank]
			shown.FirstShard, shown.EndShard = uint32(seat.First), uint32(seat.End)
		}
		out.Members = append(out.Members, shown)
	}
	for _, m := range t.members {
		if m.GetRole() != roleTrainer {
			out.Members = append(out.Members, onTheWire(member(m), m.GetRole()))
		}
	}
	slices.SortFunc(out.Members, func(a, b *ditherv1.Member) int {
		return cmp.Or(cmp.Compare(a.GetRole(), b.GetRole()), cmp.Compare(a.GetId(), b.GetId()))
	})
	return out
}

// finalResult is how the run ended, by a decision that is final; t.mu is held.
func (t *term) finalResult(d quorum.Decision) *ditherv1.RunResult {
	r := &ditherv1.RunResult{Phase: string(d.Phase), Reason: d.Reason, Temporary: d.Temporary, Diverged: d.Diverged, Iteration: max(t.iteration, t.ledger.have), Generations: t.record.generations,
		Seconds: t.seconds(), KernelSets: slices.Sorted(maps.Keys(t.kernelSets))}
	if k, ok := t.store.newest(); ok {
		r.Checkpoint = relative(k)
	}
	// Survivors of a failure may be an iteration apart: the one ahead has the run's state. Where two differ there are no parameters to name.
	words := map[string]quorum.Word{}
	for id, w := range t.words {
		if t.generation != nil && w.Generation == t.generation.Number {
			words[id] = w
		}
	}
	if len(words) == 0 {
		return r
	}
	newest := slices.MaxFunc(slices.Collect(maps.Values(words)), func(a, b quorum.Word) int { return cmp.Compare(a.Iteration, b.Iteration) })
	r.Iteration, r.ParametersSha256 = newest.Iteration, newest.Parameters
	for _, w := range words {
		if w.Iteration == newest.Iteration && w.Parameters != newest.Parameters {
			r.ParametersSha256 = ""
		}
	}
	return r
}
