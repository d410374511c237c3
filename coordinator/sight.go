package coordinator

import (
	"time"

	"github.com/dither-ml/dither/coordinator/quorum"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// sight is what the decision rests on; t.mu is held.
func (t *term) sight(now time.Time) quorum.State {
	c, spec := &t.config, t.config.Spec
	q := quorum.State{
		Shards: int(spec.GetShards()), Start: c.Start, Min: c.Min, Max: c.Max, NeedTeacher: c.NeedTeacher,
		Version: c.Version, Arithmetic: spec.GetArithmetic(), SpecSHA256: c.SpecSHA256, TrainSHA256: spec.GetDataset().GetTrainSha256(), TestSHA256: spec.GetDataset().GetTestSha256(),
		Iterations: spec.GetIterations(), StopAfter: c.Options.GetStopAfter(), After: t.after,
		WaitTimeout: c.WaitTimeout, Silence: c.Silence, Benched: benched, Patience: patience,
		Generation: t.generation, Last: t.last, Iteration: t.iteration, Words: t.words, Failures: t.failures, Seconds: t.medians(),
		StopAsked: t.stopAsked, StopReason: t.stopReason,
		Leading: now.Sub(t.started), Waited: since(t.waiting, now), TeacherAway: since(t.teacherAway, now),
	}
	if t.takenOver {
		q.Grace = grace
	}
	if t.diskFails { // the last checkpoint has nowhere to go: nobody waits for it
		q.Patience = c.Silence
	}
	if spec.GetTeacher().GetModel() != nil { // precomputed logits take no arithmetic of the service's
		q.TeacherArithmetic = spec.GetTeacher().GetArithmetic()
	}
	if t.decision.Phase == quorum.Failed {
		q.Doomed, q.Ordered = &t.decision, now.Sub(t.ordered)
	}
	for _, c := range t.complaints {
		c.Ago = now.Sub(c.at)
		q.Complaints = append(q.Complaints, c.Complaint)
	}
	for _, m := range t.members {
		if m.GetRole() == roleTeacher {
			q.Teachers = append(q.Teachers, member(m))
		}
	}
	q.Trainers = t.trainers(now)
	return q
}

// trainers are all that is known of them: the process that spoke last under each id, else the one in etcd, else that of a seat.
func (t *term) trainers(now time.Time) (out []quorum.Trainer) {
	leases := map[string]quorum.Member{}
	for _, m := range t.members {
		if m.GetRole() == roleTrainer {
			leases[m.GetId()] = member(m)
		}
	}
	named := map[string]bool{}
	for id, p := range t.peers {
		lease, held := leases[id]
		if p.session == nil && held && !same(lease, p.Member) {
			continue // another process has the id, and has not called yet
		}
		named[id] = true
		out = append(out, quorum.Trainer{Member: p.Member, Lease: held && same(lease, p.Member), Connected: p.session != nil, Silent: now.Sub(p.heard),
			Generation: p.beat.GetGeneration(), Iteration: p.iteration(), HasState: p.beat.GetHasState(), Leaving: p.leaving, Doing: p.beat.GetDoing()})
	}
	for id, m := range leases {
		if t.seen[id].IsZero() {
			t.seen[id] = now
		}
		if !named[id] {
			named[id] = true
			out = append(out, quorum.Trainer{Member: m, Lease: true, Silent: now.Sub(t.seen[id])})
		}
	}
	if t.generation != nil {
		for _, seat := range t.generation.Seats {
			if !named[seat.ID] {
				out = append(out, quorum.Trainer{Member: seat.Member, Silent: now.Sub(t.started)})
			}
		}
	}
	return out
}

func member(m *ditherv1.Member) quorum.Member {
	return quorum.Member{ID: m.GetId(), Address: m.GetAddress(), Process: m.GetProcess(), KernelSet: m.GetKernelSet(), Version: m.GetVersion(), Arithmetic: m.GetArithmetic(),
		TrainSHA256: m.GetTrainSha256(), TestSHA256: m.GetTestSha256(), SpecSHA256: m.GetSpecSha256()}
}

func onTheWire(m quorum.Member, role string) *ditherv1.Member {
	return &ditherv1.Member{Id: m.ID, Role: role, Address: m.Address, Process: m.Process, KernelSet: m.KernelSet, Version: m.Version, Arithmetic: m.Arithmetic,
		TrainSha256: m.TrainSHA256, TestSha256: m.TestSHA256, SpecSha256: m.SpecSHA256}
}

// message is a generation as etcd holds it; t.mu is held, or t is not shared yet.
func (t *term) message(g *quorum.Generation) *ditherv1.Generation {
	out := &ditherv1.Generation{Number: g.Number, Reason: g.Reason, AfterIteration: g.After, Planned: g.Planned, Run: t.config.Run, SpecSha256: t.config.SpecSHA256}
	for _, seat := range g.Seats {
		m := onTheWire(seat.Member, roleTrainer)
		m.FirstShard, m.EndShard = uint32(seat.First), uint32(seat.End)
		out.Trainers = append(out.Trainers, m)
	}
	return out
}

// generationOf is the way back.
func generationOf(m *ditherv1.Generation) *quorum.Generation {
	g := &quorum.Generation{Number: m.GetNumber(), Reason: m.GetReason(), After: m.GetAfterIteration(), Planned: m.GetPlanned()}
	for _, seat := range m.GetTrainers() {
		g.Seats = append(g.Seats, quorum.Seat{Member: member(seat), Range: quorum.Range{First: int(seat.GetFirstShard()), End: int(seat.GetEndShard())}})
	}
	return g
}
