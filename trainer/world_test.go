package trainer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dither-ml/dither/dataloader"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce"
	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cpu"
	"github.com/dither-ml/dither/trainer/kernel/kerneltest"
)

const (
	runIterations = 12
	runShards     = 4
	pace          = 100 * time.Millisecond // of an iteration, which takes no time of its own in a bubble of synctest
)

// world is a run in memory: its etcd, its coordinator, its network and its trainers. Tests make the generations.
type world struct {
	t    *testing.T
	data *dataloader.Set
	run  *ditherv1.GetRunResponse
	net  *allreduce.MemoryNetwork
	take func(ctx context.Context, id string, k uint32) error // before labels are given; nil: after the pace

	apart int // the first trainer's place in who works apart, and how

	mu         sync.Mutex
	changed    chan struct{} // closed at every change
	processes  map[string]*process
	joined     map[string]*ditherv1.Member
	generation *ditherv1.Generation
	down       bool // no coordinator leads
	have       uint32
	checkpoint []byte
	reports    []*ditherv1.ReportRequest
	finished   map[string]*ditherv1.Finished // in the generation in force
	corrupt    string                        // id of a trainer whose states come damaged
}

// process is a trainer with what surrounds it.
type process struct {
	w       *world
	id      string
	trainer *Trainer
	member  *ditherv1.Member
	drain   chan struct{}
	end     context.CancelCauseFunc
	done    chan struct{}
	err     error // of Serve; read after done
	dead    bool  // guarded by the world
	lost    chan struct{}
	conn    *memoryCoordinator
}

func newWorld(t *testing.T, change func(*ditherv1.GetRunResponse)) *world {
	t.Helper()
	data, err := dataloader.Open("digits", "", dataloader.Options{TrainLimit: 48, TestLimit: 11})
	if err != nil {
		t.Fatal(err)
	}
	spec := &ditherv1.RunSpec{
		Dataset: &ditherv1.DatasetSpec{Name: "digits", Classes: uint32(data.Classes), Channels: uint32(data.Channels), Height: uint32(data.Height), Width: uint32(data.Width),
			TrainSha256: data.Train.Hash(), TestSha256: data.Test.Hash(), Validation: 0.2},
		Model: &ditherv1.ModelSpec{Name: "mlp"}, Teacher: &ditherv1.TeacherSpec{Sha256: "0", Arithmetic: "logits"}, Noise: &ditherv1.NoiseSpec{Kind: "none"},
		Loss: &ditherv1.LossSpec{Quadratic: 1, Ce: 0.5}, Optimizer: &ditherv1.OptimizerSpec{Lr: 0.001, Momentum: 0.9, WeightDecay: 1e-4},
		Batch: 8, Shards: runShards, Iterations: runIterations, Seed: 5, Init: &ditherv1.InitSpec{Kind: "random"}, Batchnorm: "shard", Augment: "standard", Arithmetic: "cpu/2"}
	for range data.Channels {
		spec.Dataset.Mean, spec.Dataset.Std = append(spec.Dataset.Mean, 0.4), append(spec.Dataset.Std, 0.3)
	}
	w := &world{t: t, data: data, net: allreduce.NewMemoryNetwork(allreduce.MemoryOptions{Seed: 1}), changed: make(chan struct{}), processes: map[string]*process{}, joined: map[string]*ditherv1.Member{}, finished: map[string]*ditherv1.Finished{}}
	w.run = &ditherv1.GetRunResponse{Run: "digits", Spec: spec, Options: &ditherv1.RunOptions{LabelDepth: 2, CheckpointEvery: 4, EvalEvery: 1, GradientNormImages: 7}, Version: "test", SilenceMs: 500}
	if change != nil {
		change(w.run)
	}
	w.run.SpecSha256 = ditherv1.Hash(spec)
	return w
}

// change changes the world, and wakes who waits for that.
func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

// await waits until the world is as wanted.
func (w *world) await(what string, ready func() bool) {
	w.t.Helper()
	late := time.After(time.Minute)
	for {
		w.mu.Lock()
		ok, changed := ready(), w.changed
		w.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-late:
			w.mu.Lock()
			defer w.mu.Unlock()
			w.t.Fatalf("it never came to this: %s; the last reports are %v", what, w.reports[max(0, len(w.reports)-5):])
		}
	}
}

// start begins a trainer.
func (w *world) start(id string) *process {
	w.t.Helper()
	set, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	number := len(w.processes)
	w.mu.Unlock()
	works := []kernel.Set{set}
	if orders := kerneltest.Orders(); (number+w.apart)%(len(orders)+1) > 0 { // the first is a processor, the others are like GPUs
		works = nil
		for range 1 + number%2 { // of one GPU or two
			works = append(works, &kerneltest.Apart{Set: set, Eager: orders[(number+w.apart)%(len(orders)+1)-1]})
		}
	}
	share, err := NewShare(works, w.data, w.run.GetSpec(), "test", 0, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	p := &process{w: w, id: id, drain: make(chan struct{}), done: make(chan struct{})}
	p.member = &ditherv1.Member{Id: id, Role: "trainer", Address: fmt.Sprintf("%s-%d", id, number), Process: fmt.Sprintf("host:%d", number), KernelSet: set.Name(), Arithmetic: set.Arithmetic(),
		TrainSha256: w.data.Train.Hash(), TestSha256: w.data.Test.Hash()}
	config := Config{Member: p.member, Run: w.run, Members: p, Coordinators: p, Exchange: w.net.Node(p.member.Address), Peers: memoryPeers{p}, Work: share, Logger: slog.New(slog.DiscardHandler)}
	if w.run.GetSpec().GetTeacher() != nil {
		config.Labels = &memoryLabels{p: p}
	}
	if p.trainer, err = New(config); err != nil {
		w.t.Fatal(err)
	}
	ctx, end := context.WithCancelCause(context.Background())
	p.end = end
	w.change(func() { w.processes[p.member.Address] = p })
	go func() {
		defer close(p.done)
		defer set.Close()
		defer share.Close()
		p.err = p.trainer.Serve(ctx, p.drain)
		end(nil)
	}()
	return p
}

var errKilled = errors.New("killed")

// kill ends a process as kill -9 does.
func (p *process) kill() {
	p.w.net.Kill(p.member.Address)
	p.w.change(func() {
		p.dead = true
		if p.conn != nil {
			p.conn.snap()
		}
		delete(p.w.joined, p.id)
	})
	p.end(errKilled)
	<-p.done
}

// form puts the next generation in force: those processes, each with its part of the shards.
func (w *world) form(planned bool, ps ...*process) {
	w.t.Helper()
	g := &ditherv1.Generation{Planned: planned, Reason: "the test says so"}
	for rank, p := range ps {
		m := proto.CloneOf(p.member)
		m.FirstShard, m.EndShard = uint32(runShards*rank/len(ps)), uint32(runShards*(rank+1)/len(ps))
		g.Trainers = append(g.Trainers, m)
	}
	w.change(func() {
		g.Number = w.generation.GetNumber() + 1
		w.generation, w.finished = g, map[string]*ditherv1.Finished{}
	})
}

// Join implements Members.
func (p *process) Join(_ context.Context, m *ditherv1.Member) error {
	p.w.change(func() { p.w.joined[p.id], p.lost = m, make(chan struct{}) })
	return nil
}

// Generations implements Members.
func (p *process) Generations(ctx context.Context) <-chan *ditherv1.Generation {
	out := make(chan *ditherv1.Generation)
	go func() {
		defer close(out)
		for last := uint64(0); ; {
			p.w.mu.Lock()
			g, changed := p.w.generation, p.w.changed
			p.w.mu.Unlock()
			if g.GetNumber() > last {
				last = g.GetNumber()
				select {
				case out <- g:
				case <-ctx.Done():
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// Lost implements Members.
func (p *process) Lost() <-chan struct{} {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.lost
}

// Leave implements Members.
func (p *process) Leave(context.Context) error {
	p.w.change(func() { delete(p.w.joined, p.id) })
	return nil
}

// memoryLabels are soft labels that are a function of (iteration, sample, class).
type memoryLabels struct {
	p       *process
	samples func(uint32) []uint32
}

func (l *memoryLabels) Begin(_, _ uint32, samples func(uint32) []uint32) { l.samples = samples }

func (l *memoryLabels) Take(ctx context.Context, k uint32) ([]float32, error) {
	select {
	case <-time.After(pace):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if l.p.w.take != nil {
		if err := l.p.w.take(ctx, l.p.id, k); err != nil {
			return nil, err
		}
	}
	var v []float32
	for _, s := range l.samples(k) {
		for c := range l.p.w.data.Classes {
			v = append(v, float32((int(s)*7+int(k)*3+c*5)%11)/11)
		}
	}
	return v, nil
}

func (l *memoryLabels) Close() {}

// memoryPeers ask trainers in memory.
type memoryPeers struct{ p *process }

// memoryStream is what a trainer sends.
type memoryStream[T any] struct {
	messages chan *T
	err      error // once messages is closed
}

func (s *memoryStream[T]) Recv() (*T, error) {
	if m, open := <-s.messages; open {
		return m, nil
	}
	return nil, s.err
}

func ask[T any](ctx context.Context, p *process, to *ditherv1.Member, call func(t *Trainer, send func(*T) error) error) (Stream[T], error) {
	p.w.mu.Lock()
	peer := p.w.processes[to.GetAddress()]
	dead := peer == nil || peer.dead
	p.w.mu.Unlock()
	if dead {
		return nil, errors.New("connection refused")
	}
	s := &memoryStream[T]{messages: make(chan *T)}
	go func() {
		defer close(s.messages)
		s.err = call(peer.trainer, func(m *T) error {
			select {
			case s.messages <- m:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		if s.err == nil {
			s.err = io.EOF
		}
	}()
	return s, nil
}

func (m memoryPeers) FetchState(ctx context.Context, from *ditherv1.Member, r *ditherv1.FetchStateRequest) (Stream[ditherv1.FetchStateResponse], error) {
	return ask(ctx, m.p, from, func(t *Trainer, send func(*ditherv1.FetchStateResponse) error) error {
		return t.FetchState(ctx, r, func(s *ditherv1.FetchStateResponse) error {
			if m.p.w.corrupt == from.GetId() {
				s.Data = slices.Clone(s.Data)
				s.Data[0] ^= 1
			}
			return send(s)
		})
	})
}

func (m memoryPeers) FollowUpdates(ctx context.Context, from *ditherv1.Member, r *ditherv1.FollowUpdatesRequest) (Stream[ditherv1.FollowUpdatesResponse], error) {
	return ask(ctx, m.p, from, func(t *Trainer, send func(*ditherv1.FollowUpdatesResponse) error) error {
		return t.FollowUpdates(ctx, r, send)
	})
}

// memoryCoordinator is a trainer's connection to the coordinator.
type memoryCoordinator struct {
	p      *process
	orders chan *ditherv1.ReportResponse
	gone   chan struct{}
	once   sync.Once
}

// Connect implements Coordinators.
func (p *process) Connect(ctx context.Context) (Coordinator, error) {
	w := p.w
	c := &memoryCoordinator{p: p, orders: make(chan *ditherv1.ReportResponse, 100), gone: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down || p.dead {
		return nil, errors.New("connection refused")
	}
	p.conn = c
	return c, nil
}

func (c *memoryCoordinator) snap() { c.once.Do(func() { close(c.gone) }) }

func (c *memoryCoordinator) Send(r *ditherv1.ReportRequest) error {
	select {
	case <-c.gone:
		return errors.New("the connection is broken")
	default:
	}
	w := c.p.w
	w.change(func() {
		w.reports = append(w.reports, r)
		switch {
		case r.GetHello() != nil:
			c.orders <- &ditherv1.ReportResponse{Have: w.have}
		case r.GetIteration() != nil:
			if k := r.GetIteration().GetIteration(); k == w.have+1 {
				w.have = k
			}
		case r.GetFinished() != nil:
			w.finished[r.GetId()] = r.GetFinished()
			if len(w.finished) == len(w.generation.GetTrainers()) {
				w.tellAll(&ditherv1.ReportResponse{Over: true, Reason: "all is done"})
			}
		}
	})
	return nil
}

// tellAll gives every trainer an order. It holds the lock.
func (w *world) tellAll(r *ditherv1.ReportResponse) {
	for _, p := range w.processes {
		if p.conn != nil {
			p.conn.orders <- r
		}
	}
}

func (c *memoryCoordinator) Recv() (*ditherv1.ReportResponse, error) {
	select {
	case r := <-c.orders:
		return r, nil
	case <-c.gone:
		return nil, errors.New("the connection is broken")
	}
}

func (c *memoryCoordinator) PutCheckpoint(_ context.Context, _ uint32, data []byte) error {
	select {
	case <-c.gone:
		return errors.New("the connection is broken")
	default:
	}
	c.p.w.change(func() { c.p.w.checkpoint = data })
	return nil
}

func (c *memoryCoordinator) GetFile(_ context.Context, kind ditherv1.FileKind) ([]byte, error) {
	c.p.w.mu.Lock()
	defer c.p.w.mu.Unlock()
	if kind != ditherv1.FileKind_FILE_KIND_CHECKPOINT || c.p.w.checkpoint == nil {
		return nil, ErrNoFile
	}
	return c.p.w.checkpoint, nil
}

func (c *memoryCoordinator) Close() { c.snap() }
