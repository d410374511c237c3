package membership

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// Fake is an etcd in memory, for tests: what Client does, with a clock that only Advance moves. Leases are kept alive unless Stall said otherwise.
type Fake struct {
	mu      sync.Mutex
	now     time.Duration
	rev     int64
	keys    map[string]*fakeKey
	changed chan struct{} // closed and replaced at each change
	watches map[*fakeWatch]struct{}
	away    error // what every call ends with; nil: they succeed
}

type fakeKey struct {
	value    any
	created  int64 // revision
	modified int64 // revision
	lease    *fakeLease
}

type fakeLease struct {
	ttl       time.Duration
	ends      time.Duration // by the clock of the Fake, once stalled
	stalled   bool
	abandoned bool
	over      bool
	lost      chan struct{}
}

type fakeWatch struct {
	prefix  string
	publish func()
}

// NewFake gives an empty one.
func NewFake() *Fake {
	return &Fake{keys: map[string]*fakeKey{}, changed: make(chan struct{}), watches: map[*fakeWatch]struct{}{}}
}

// Run is the membership of a run in f.
func (f *Fake) Run(run string) Registry {
	return &fakeRun{f: f, run: run, root: "/dither/" + run + "/"}
}

// Stall stops keeping the leases of the run's members and candidates of this name alive, as when their process hangs.
func (f *Fake) Stall(run, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.leases(run, name) {
		l.stalled, l.ends = true, f.now+l.ttl
	}
}

// leases of those of this name; f.mu is held.
func (f *Fake) leases(run, name string) (ls []*fakeLease) {
	for key, k := range f.keys {
		holder, _ := k.value.(string)
		if m, ok := k.value.(*ditherv1.Member); ok {
			holder = m.GetId()
		}
		if strings.HasPrefix(key, "/dither/"+run+"/") && k.lease != nil && holder == name {
			ls = append(ls, k.lease)
		}
	}
	return ls
}

// Advance lets time pass: stalled leases end when theirs is up.
func (f *Fake) Advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now += d
	for _, k := range f.keys {
		if k.lease != nil && k.lease.stalled && k.lease.ends <= f.now {
			f.endLease(k.lease)
		}
	}
}

// Abandon takes the leases of the run's members and candidates of this name from their holders, as when their process is killed: nothing that it does ends them any more.
func (f *Fake) Abandon(run, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.leases(run, name) {
		l.abandoned = true
	}
}

// Expire ends the leases of the run's members and candidates of this name at once, as when their time is up.
func (f *Fake) Expire(run, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.leases(run, name) {
		f.endLease(l)
	}
}

// Break lets every call fail with err, as an etcd without a quorum or with a full disk does, until Break(nil). Leases stay.
func (f *Fake) Break(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = err
}

func (f *Fake) endLease(l *fakeLease) {
	if l.over {
		return
	}
	l.over = true
	close(l.lost)
	for key, k := range f.keys {
		if k.lease == l {
			delete(f.keys, key)
			f.touched(key)
		}
	}
}

// put writes a key; f.mu is held.
func (f *Fake) put(key string, value any, l *fakeLease) *fakeKey {
	f.rev++
	k := f.keys[key]
	if k == nil {
		k = &fakeKey{created: f.rev}
		f.keys[key] = k
	}
	k.value, k.lease, k.modified = value, l, f.rev
	f.touched(key)
	return k
}

func (f *Fake) touched(key string) {
	close(f.changed)
	f.changed = make(chan struct{})
	for w := range f.watches {
		if strings.HasPrefix(key, w.prefix) {
			w.publish()
		}
	}
}

// watch calls publish now and after each change under prefix, until the context ends, then close; all with f.mu held.
func (f *Fake) watch(ctx context.Context, prefix string, publish, end func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := &fakeWatch{prefix: prefix, publish: publish}
	f.watches[w] = struct{}{}
	publish()
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watches, w)
		end()
	})
}

func (f *Fake) leave(l *fakeLease) func(context.Context) error {
	return func(context.Context) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if !l.abandoned {
			f.endLease(l)
		}
		return nil
	}
}

type fakeRun struct {
	f    *Fake
	run  string
	root string
}

func (r *fakeRun) Close() error { return nil }

func (r *fakeRun) Join(_ context.Context, m *ditherv1.Member, ttl time.Duration) (*Lease, error) {
	if err := checkMember(m); err != nil {
		return nil, err
	}
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if r.f.away != nil {
		return nil, r.f.away
	}
	key := r.root + "members/" + m.GetRole() + "/" + m.GetId()
	if held := r.f.keys[key]; held != nil {
		return nil, taken(r.run, m, held.value.(*ditherv1.Member), ttl)
	}
	l := &fakeLease{ttl: ttl, lost: make(chan struct{})}
	r.f.put(key, proto.CloneOf(m), l)
	return &Lease{lost: l.lost, leave: r.f.leave(l)}, nil
}

func (r *fakeRun) Members(context.Context) ([]*ditherv1.Member, error) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if r.f.away != nil {
		return nil, r.f.away
	}
	return r.members(), nil
}

func (r *fakeRun) members() []*ditherv1.Member {
	ms := []*ditherv1.Member{}
	for key, k := range r.f.keys {
		if strings.HasPrefix(key, r.root+"members/") {
			ms = append(ms, proto.CloneOf(k.value.(*ditherv1.Member)))
		}
	}
	sortMembers(ms)
	return ms
}

func (r *fakeRun) WatchMembers(ctx context.Context) <-chan []*ditherv1.Member {
	out := make(chan []*ditherv1.Member, 1)
	r.f.watch(ctx, r.root+"members/", func() { replace(out, r.members()) }, func() { close(out) })
	return out
}

func (r *fakeRun) Campaign(ctx context.Context, candidate string, ttl time.Duration) (*Leadership, error) {
	r.f.mu.Lock()
	if err := r.f.away; err != nil {
		r.f.mu.Unlock()
		return nil, err
	}
	l := &fakeLease{ttl: ttl, lost: make(chan struct{})}
	key := fmt.Sprintf("%sleader/%d", r.root, r.f.rev+1)
	k := r.f.put(key, candidate, l)
	for r.first() != k {
		changed := r.f.changed
		r.f.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		r.f.mu.Lock()
		if ctx.Err() != nil || l.over {
			err := errInLine(r.run)
			if ctx.Err() != nil {
				err = fmt.Errorf("standing for the lead of run %q: %w", r.run, ctx.Err())
			}
			r.f.endLease(l)
			r.f.mu.Unlock()
			return nil, err
		}
	}
	defer r.f.mu.Unlock()
	return &Leadership{key: key, revision: k.created, lost: l.lost, resign: r.f.leave(l)}, nil
}

// first is the candidate's key that was created first; r.f.mu is held.
func (r *fakeRun) first() *fakeKey {
	var first *fakeKey
	for key, k := range r.f.keys {
		if strings.HasPrefix(key, r.root+"leader/") && (first == nil || k.created < first.created) {
			first = k
		}
	}
	return first
}

func (r *fakeRun) Leader(context.Context) (string, error) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if r.f.away != nil {
		return "", r.f.away
	}
	return r.leader(), nil
}

// leader names who leads; r.f.mu is held.
func (r *fakeRun) leader() string {
	if k := r.first(); k != nil {
		return k.value.(string)
	}
	return ""
}

func (r *fakeRun) leads(l *Leadership) error {
	if r.f.away != nil {
		return r.f.away
	}
	if k := r.f.keys[l.key]; k == nil || k.created != l.revision {
		return fmt.Errorf("run %q: %w", r.run, ErrDeposed)
	}
	return nil
}

func (r *fakeRun) generation() *ditherv1.Generation {
	if k := r.f.keys[r.root+"generation"]; k != nil {
		return k.value.(*ditherv1.Generation)
	}
	return nil
}

func (r *fakeRun) PutGeneration(_ context.Context, l *Leadership, g *ditherv1.Generation) error {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if err := r.leads(l); err != nil {
		return err
	}
	if err := successor(r.generation(), g); err != nil {
		return fmt.Errorf("run %q: %w", r.run, err)
	}
	r.f.put(r.root+"generation", proto.CloneOf(g), nil)
	return nil
}

func (r *fakeRun) Generation(context.Context) (*ditherv1.Generation, error) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if r.f.away != nil {
		return nil, r.f.away
	}
	return proto.CloneOf(r.generation()), nil
}

func (r *fakeRun) WatchLeader(ctx context.Context) <-chan string {
	out := make(chan string, 1)
	last, said := "", false
	r.f.watch(ctx, r.root+"leader/", func() {
		if who := r.leader(); who != last || !said {
			last, said = who, true
			replace(out, who)
		}
	}, func() { close(out) })
	return out
}

func (r *fakeRun) WatchGeneration(ctx context.Context) <-chan *ditherv1.Generation {
	out := make(chan *ditherv1.Generation, 1)
	r.f.watch(ctx, r.root+"generation", func() {
		if g := r.generation(); g != nil {
			replace(out, proto.CloneOf(g))
		}
	}, func() { close(out) })
	return out
}
