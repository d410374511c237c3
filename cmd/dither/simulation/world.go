package simulation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dither-ml/dither/coordinator/membership"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce"
)

const (
	runName = "run"
	version = "simulated"
	silence = 2 * time.Second
)

var (
	errKilled = errors.New("killed")
	errAway   = errors.New("etcd does not answer")
	errCut    = errors.New("no answer")
)

// world is a run with all that surrounds it, in one process, in a bubble of testing/synctest.
type world struct {
	Schedule
	mutant *mutant // nil: none
	oracle *oracle
	spec   *ditherv1.RunSpec
	run    *ditherv1.GetRunResponse
	etcd   *membership.Fake
	net    *allreduce.MemoryNetwork
	dir    string // for the coordinators' folders
	began  time.Time
	log    *slog.Logger
	all    sync.WaitGroup // every goroutine of the world's own

	mu        sync.Mutex // guards all below
	changed   chan struct{}
	hosts     map[string]*host // those that live, or lie there dead
	cuts      map[[2]string]int
	etcdOff   int
	teacher   int // how many faults keep it away
	processes []*process
	leaders   []*candidate
	defects   []string
	trace     []string
	result    *ditherv1.RunResult
	ender     *candidate                        // that gave it
	etcdAway  bool                              // when it did
	begun     int                               // how often a run was begun: again where a coordinator that came to lead found nobody of the generation in force in etcd
	leads     map[*membership.Leadership]string // who won it
}

func newWorld(s Schedule, m *mutant, dir string, log *slog.Logger) *world {
	w := &world{Schedule: s, mutant: m, dir: dir, log: log, etcd: membership.NewFake(), began: time.Now(), changed: make(chan struct{}), hosts: map[string]*host{}, cuts: map[[2]string]int{},
		leads: map[*membership.Leadership]string{}}
	w.oracle = quietRun(s.Seed, s.Shards, s.Iterations)
	w.net = allreduce.NewMemoryNetwork(allreduce.MemoryOptions{Seed: s.Seed, Delay: s.Delay})
	w.spec = &ditherv1.RunSpec{Seed: s.Seed, Shards: uint32(s.Shards), Iterations: s.Iterations, Batch: uint32(s.Shards * perShard), Arithmetic: "tiny/1", Teacher: &ditherv1.TeacherSpec{Sha256: "teacher"},
		Dataset: &ditherv1.DatasetSpec{Name: "tiny", Classes: classes, TrainSha256: "train", TestSha256: "test"}, Init: &ditherv1.InitSpec{Kind: "random"}, Optimizer: &ditherv1.OptimizerSpec{Lr: 0.125}}
	w.run = &ditherv1.GetRunResponse{Run: runName, Spec: w.spec, SpecSha256: ditherv1.Hash(w.spec), Version: version, Trainers: uint32(s.Start), TrainersMin: uint32(s.Min), TrainersMax: uint32(s.Max),
		SilenceMs: uint32(silence.Milliseconds()), Options: &ditherv1.RunOptions{CheckpointEvery: s.CheckpointEvery, EvalEvery: s.EvalEvery, GradientNormImages: normImages}}
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

// await waits until ready, asked under the lock, or ctx is over.
func (w *world) await(ctx context.Context, ready func() bool) error {
	for {
		w.mu.Lock()
		ok, changed := ready(), w.changed
		w.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// note puts a line into the trace of the run.
func (w *world) note(format string, args ...any) {
	line := fmt.Sprintf("%10.6f s ", time.Since(w.began).Seconds()) + fmt.Sprintf(format, args...)
	w.log.Info(line)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace = append(w.trace, line)
}

// hash is of the whole trace: lines of one moment have no order.
func (w *world) hash() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := slices.Sorted(slices.Values(w.trace))
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:8])
}

// defect notes that a promise was broken.
func (w *world) defect(format string, args ...any) error {
	err := fmt.Errorf("%w: %s", errDefect, fmt.Sprintf(format, args...))
	w.note("DEFECT %v", err)
	w.change(func() { w.defects = append(w.defects, fmt.Sprintf(format, args...)) })
	return err
}

// host is where processes run, one at a time. The world's lock guards it.
type host struct {
	name   string
	frozen int
}

// host gives the one of that name; w.mu is held.
func (w *world) host(name string) *host {
	h := w.hosts[name]
	if h == nil {
		h = &host{name: name}
		w.hosts[name] = h
	}
	return h
}

// machine is one process on a host: what a trainer and a coordinator have in common.
type machine struct {
	w    *world
	host string
	name string // in etcd
	ctx  context.Context
	end  context.CancelCauseFunc // ctx is over once it is dead
	dead bool                    // guarded by the world
	// Its leases: kept alive while etcd can be reached.
	unreachable bool // guarded by the world
	epoch       int  // guarded by the world: of the last change of that
}

func (w *world) machine(host, name string) *machine {
	m := &machine{w: w, host: host, name: name}
	m.ctx, m.end = context.WithCancelCause(context.Background())
	return m
}

// gate returns when the machine does not stand still; an error says that it is dead.
func (m *machine) gate() error {
	var dead bool
	err := m.w.await(context.Background(), func() bool {
		dead = m.dead
		return dead || m.w.host(m.host).frozen == 0
	})
	if dead {
		return errKilled
	}
	return err
}

// pass returns when the way between two hosts is open, or ctx over.
func (w *world) pass(ctx context.Context, a, b string) error {
	return w.await(ctx, func() bool { return w.open(a, b) })
}

// open says that the way between two hosts is; w.mu is held.
func (w *world) open(a, b string) bool {
	if (a == etcdHost || b == etcdHost) && w.etcdOff > 0 {
		return false
	}
	return w.cuts[pair(a, b)] == 0
}

func pair(a, b string) [2]string {
	if a > b {
		a, b = b, a
	}
	return [2]string{a, b}
}

// leases lets those end whose holder cannot keep them alive; w.mu is held. It is called after each change of what can be reached.
func (w *world) leases() {
	for _, m := range w.machines() {
		if away := m.dead || w.host(m.host).frozen > 0 || !w.open(m.host, etcdHost); away != m.unreachable {
			m.unreachable = away
			m.epoch++
			if away {
				w.lapse(m, m.epoch)
			}
		}
	}
}

// lapse ends a machine's leases when they have not been renewed for long enough: the last renewal was up to a third of their life ago.
func (w *world) lapse(m *machine, epoch int) {
	left := w.Lease - time.Duration(mix(w.Seed, uint64(epoch), text(m.name))%uint64(w.Lease/3))
	time.AfterFunc(lattice(left, m.name+" lease"), func() {
		w.mu.Lock()
		over := m.unreachable && m.epoch == epoch
		w.mu.Unlock()
		if over {
			w.note("the leases of %s lapse", m.name)
			w.etcd.Expire(runName, m.name)
		}
	})
}

// machines are all processes there were; w.mu is held.
func (w *world) machines() (all []*machine) {
	for _, p := range w.processes {
		all = append(all, p.machine)
	}
	for _, c := range w.leaders {
		all = append(all, c.machine)
	}
	return all
}

// lane is a way on which messages travel, each for a time that the seed says.
type lane struct {
	name   string
	most   time.Duration
	mu     sync.Mutex
	random *rand.Rand
}

func (w *world) lane(name string, most time.Duration) *lane {
	return &lane{name: name, most: most, random: rand.New(rand.NewPCG(w.Seed, text(name)))}
}

// travel takes the time of a message.
func (l *lane) travel() {
	l.mu.Lock()
	d := time.Duration(l.random.Int64N(int64(l.most) + 1))
	l.mu.Unlock()
	time.Sleep(lattice(d, l.name))
}

// lattice is d or a little more, so that it ends at a moment at which nothing of another name happens: with one thing at a time, one seed gives one run.
func lattice(d time.Duration, name string) time.Duration {
	const step = 1 << 14
	now := time.Now()
	due := now.Add(d)
	return due.Add(time.Duration(step - due.UnixNano()%step + int64(text(name)%(step-4200)) + 4200)).Sub(now)
}

// text is a number for a name.
func text(s string) uint64 {
	h := uint64(len(s))
	for _, b := range []byte(s) {
		h = mix(h, uint64(b))
	}
	return h
}
