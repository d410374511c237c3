package simulation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/dither-ml/dither/coordinator/membership"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer"
	"github.com/dither-ml/dither/trainer/checkpoint"
)

// joinPause is how long a trainer waits before it tries again to become known.
const joinPause = 250 * time.Millisecond

// process is a trainer: the production loop, with all that surrounds it in memory.
type process struct {
	*machine
	member  *ditherv1.Member
	trainer *trainer.Trainer
	work    *network
	etcd    *registry
	drain   chan struct{}
	done    chan struct{}
	err     error // of Serve; read after done

	// Guarded by the world:
	drained bool
	applied int64 // last iteration of its state; -1: none
	lease   *membership.Lease
	first   uint32 // the iterations from here to last it did with others, one after another: it keeps their records
	last    uint32
}

// start begins a new process on a host, whose id is the host's name.
func (w *world) start(host string) {
	w.mu.Lock()
	number := len(w.processes)
	w.mu.Unlock()
	name := fmt.Sprintf("%s.%d", host, number)
	m := w.machine(host, host)
	p := &process{machine: m, drain: make(chan struct{}), done: make(chan struct{}), applied: -1}
	p.etcd = w.registry(m)
	p.etcd.lane = w.lane(name+" etcd", w.Travel)
	p.member = &ditherv1.Member{Id: host, Role: "trainer", Address: name, Process: host + ":" + fmt.Sprint(number), KernelSet: "tiny", Arithmetic: w.spec.GetArithmetic(), Version: version,
		TrainSha256: w.spec.GetDataset().GetTrainSha256(), TestSha256: w.spec.GetDataset().GetTestSha256(), SpecSha256: w.run.GetSpecSha256()}
	p.work = p.network(name)
	w.mutant.changeWork(p.work)
	t, err := trainer.New(trainer.Config{Member: p.member, Run: w.run, Members: members{p}, Coordinators: coordinators{p, w.lane(name+" leader", w.Travel)}, Exchange: w.net.Node(name), Peers: peers{p}, Labels: w.mutant.changeLabels(&labels{p: p, lane: w.lane(name+" labels", w.LabelDelay)}),
		Work: p.work, ChunkFloats: w.ChunkFloats, Logger: w.log.With(slog.String("trainer", name))})
	if err != nil {
		panic(err)
	}
	p.trainer = t
	w.note("%s is started", name)
	w.change(func() {
		w.processes = append(w.processes, p)
		if w.host(host).frozen > 0 {
			w.net.Freeze(name)
		}
		for _, q := range w.processes {
			if w.cuts[pair(host, q.host)] > 0 {
				w.net.Cut(name, q.member.Address)
			}
		}
		w.leases()
	})
	w.all.Go(func() {
		err := t.Serve(p.ctx, p.drain)
		w.note("%s ends: %v", name, err)
		w.net.Kill(name) // its sockets are gone with it
		p.end(nil)
		w.change(func() { p.err, p.dead = err, true })
		close(p.done)
	})
}

// network is the process's work.
func (p *process) network(name string) *network {
	w := p.w
	node, way := w.net.Node(name), w.lane(name+" compute", w.Compute)
	return &network{seed: w.Seed, shards: w.Shards, perEpoch: epoch, meta: checkpoint.Meta{SpecSHA256: w.run.GetSpecSha256(), Arithmetic: w.spec.GetArithmetic(), Version: version},
		compute: func(int) {
			node.Standstill()
			way.travel()
			node.Standstill()
		},
		seen: p.seen}
}

// seen holds that the state after k is the quiet run's, and that no iteration is applied twice or left out.
func (p *process) seen(what string, k uint32, digest uint64) error {
	w := p.w
	var last int64
	w.change(func() {
		last, p.applied = p.applied, int64(k)
		if what == "apply" {
			if k != p.last+1 {
				p.first = k
			}
			p.last = k
		}
	})
	w.note("%s %s %d", p.member.GetAddress(), what, k)
	switch {
	case (what == "apply" || what == "follow") && int64(k) != last+1:
		return w.defect("%s applied iteration %d after %d", p.member.GetAddress(), k, last)
	case w.mutant.otherBits(): // the coordinator is to find it
	case k > w.Iterations || w.oracle.digests[k] != digest:
		return w.defect("the state of %s after iteration %d (%s) is not the quiet run's", p.member.GetAddress(), k, what)
	}
	return nil
}

// kill ends it as kill -9 does.
func (p *process) kill() {
	w := p.w
	var was bool
	w.change(func() {
		was, p.dead = p.dead, true
		w.leases()
	})
	if was {
		return
	}
	w.note("%s is killed", p.member.GetAddress())
	w.net.Kill(p.member.GetAddress())
	p.end(errKilled)
}

// members is a trainer's trainer.Members: as cmd/dither has it on etcd.
type members struct{ p *process }

func (m members) Join(ctx context.Context, me *ditherv1.Member) error {
	p := m.p
	for {
		lease, err := p.etcd.Join(ctx, me, p.w.Lease)
		if err == nil {
			p.w.change(func() { p.lease = lease })
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		select {
		case <-time.After(joinPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (m members) Generations(ctx context.Context) <-chan *ditherv1.Generation {
	return m.p.etcd.WatchGeneration(ctx)
}

func (m members) held() *membership.Lease {
	m.p.w.mu.Lock()
	defer m.p.w.mu.Unlock()
	return m.p.lease
}

func (m members) Lost() <-chan struct{} { return m.held().Lost() }

// Leave leaves the lease to its end where etcd is away, or this process dead.
func (m members) Leave(context.Context) error {
	p := m.p
	if err := p.gate(); err != nil {
		return err
	}
	p.w.mu.Lock()
	open := p.w.open(p.host, etcdHost)
	p.w.mu.Unlock()
	if !open {
		return errAway
	}
	return m.held().Leave(context.Background())
}

// labels are a trainer's noisy soft labels: a function of the seed, the iteration and the sample, as soon as somebody answers.
type labels struct {
	p       *process
	lane    *lane
	samples func(k uint32) []uint32
	next    uint32
	last    uint32

	forgetful bool // a mutant: what is asked for again gets another answer
	given     map[uint32]bool
}

func (l *labels) Begin(first, last uint32, samples func(k uint32) []uint32) {
	l.next, l.last, l.samples = first, last, samples
}

func (l *labels) Take(ctx context.Context, k uint32) ([]float32, error) {
	w := l.p.w
	if k != l.next || k > l.last {
		return nil, w.defect("%s took the labels of iteration %d where %d to %d were due", l.p.member.GetAddress(), k, l.next, l.last)
	}
	l.next++
	if err := l.p.gate(); err != nil {
		return nil, err
	}
	l.lane.travel()
	if err := w.await(ctx, func() bool { return w.teacher == 0 }); err != nil {
		return nil, err
	}
	if err := l.p.gate(); err != nil {
		return nil, err
	}
	return softLabels(l.seed(k), k, l.samples(k)), nil
}

func (l *labels) Close() {}

// peers is how a trainer asks others for their state.
type peers struct{ p *process }

func (ps peers) FetchState(ctx context.Context, from *ditherv1.Member, r *ditherv1.FetchStateRequest) (trainer.Stream[ditherv1.FetchStateResponse], error) {
	return call(ctx, ps.p, from, "state", func(ctx context.Context, t *trainer.Trainer, send func(*ditherv1.FetchStateResponse) error) error {
		return t.FetchState(ctx, r, send)
	})
}

func (ps peers) FollowUpdates(ctx context.Context, from *ditherv1.Member, r *ditherv1.FollowUpdatesRequest) (trainer.Stream[ditherv1.FollowUpdatesResponse], error) {
	return call(ctx, ps.p, from, "updates", func(ctx context.Context, t *trainer.Trainer, send func(*ditherv1.FollowUpdatesResponse) error) error {
		return t.FollowUpdates(ctx, r, send)
	})
}

var errRefused = errors.New("connection refused")
