package membership

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// backend is a Registry under test: open gives another process's view of the same run; expire ends the leases of the members and
// candidates of that name as if their time was up.
type backend struct {
	open   func(t *testing.T, run string) Registry
	expire func(t *testing.T, run, name string)
}

// Nothing here waits for a lease to end by itself, but an etcd client looks after its lease every third of this.
const ttl = 9 * time.Second

func ctxOf(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// until takes values from a watch until one is as wanted; a reader may find that values were skipped.
func until[T any](t *testing.T, what string, ch <-chan T, ok func(T) bool) T {
	t.Helper()
	for {
		select {
		case v, open := <-ch:
			if !open {
				t.Fatalf("the watch ended before %s", what)
			}
			if ok(v) {
				return v
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no value with %s", what)
		}
	}
}

func closed(t *testing.T, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s was not closed", what)
	}
}

func names(ms []*ditherv1.Member) string {
	var s []string
	for _, m := range ms {
		s = append(s, m.GetRole()+"/"+m.GetId())
	}
	return strings.Join(s, " ")
}

func having(want string) func([]*ditherv1.Member) bool {
	return func(ms []*ditherv1.Member) bool { return names(ms) == want }
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// candidates counts those who stand for the lead, over and over.
func candidates(ctx context.Context, r Registry) <-chan int {
	out := make(chan int)
	go func() {
		for n := 0; ctx.Err() == nil; {
			switch r := r.(type) {
			case *Client:
				if got, err := r.read(ctx, r.root+"leader/", clientv3.WithPrefix()); err == nil {
					n = len(got.Kvs)
				}
			case *fakeRun:
				r.f.mu.Lock()
				n = 0
				for key := range r.f.keys {
					if strings.HasPrefix(key, r.root+"leader/") {
						n++
					}
				}
				r.f.mu.Unlock()
			}
			select {
			case out <- n:
			case <-ctx.Done():
			}
		}
	}()
	return out
}

func contract(t *testing.T, b backend) {
	t.Run("members come and go", func(t *testing.T) {
		t.Parallel() // each has a run of its own
		ctx, a, other := ctxOf(t), b.open(t, "come"), b.open(t, "come")
		watch := other.WatchMembers(ctx)
		until(t, "nobody", watch, having(""))
		full := &ditherv1.Member{Id: "t-2", Role: "trainer", Address: "127.0.0.1:1", KernelSet: "avx2", Version: "v1", Arithmetic: "cpu/2", Process: "host:7"}
		two := must(a.Join(ctx, full, ttl))(t)
		must(other.Join(ctx, &ditherv1.Member{Id: "l", Role: "teacher"}, ttl))(t)
		must(a.Join(ctx, &ditherv1.Member{Id: "t-1", Role: "trainer"}, ttl))(t)
		ms := until(t, "all three", watch, having("teacher/l trainer/t-1 trainer/t-2"))
		if got := ms[2]; got.String() != full.String() {
			t.Errorf("the member came back as %v, not %v", got, full)
		}
		if got := names(must(a.Members(ctx))(t)); got != "teacher/l trainer/t-1 trainer/t-2" {
			t.Errorf("Members: %s", got)
		}
		if err := two.Leave(ctx); err != nil {
			t.Fatal(err)
		}
		until(t, "t-2 gone", watch, having("teacher/l trainer/t-1"))
		closed(t, "Lost of the lease that was left", two.Lost())
		must(other.Join(ctx, full, ttl))(t) // the place is free again
		until(t, "t-2 back", watch, having("teacher/l trainer/t-1 trainer/t-2"))
	})
	t.Run("a late watch begins with who is there", func(t *testing.T) {
		t.Parallel() // each has a run of its own
		ctx, a := ctxOf(t), b.open(t, "late")
		must(a.Join(ctx, &ditherv1.Member{Id: "x", Role: "trainer"}, ttl))(t)
		if ms := <-a.WatchMembers(ctx); !having("trainer/x")(ms) {
			t.Errorf("first value: %s", names(ms))
		}
	})
	t.Run("a lease that ends takes its member along", func(t *testing.T) {
		t.Parallel() // each has a run of its own
		ctx, a, other := ctxOf(t), b.open(t, "end"), b.open(t, "end")
		lease := must(a.Join(ctx, &ditherv1.Member{Id: "x", Role: "trainer"}, ttl))(t)
		stays := must(a.Join(ctx, &ditherv1.Member{Id: "y", Role: "trainer"}, ttl))(t)
		watch := other.WatchMembers(ctx)
		until(t, "both", watch, having("trainer/x trainer/y"))
		b.expire(t, "end", "x")
		until(t, "x gone", watch, having("trainer/y"))
		closed(t, "Lost of the lease that ended", lease.Lost())
		select {
		case <-stays.Lost():
			t.Error("the other lease was lost too")
		default:
		}
	})
	t.Run("an id is held once", func(t *testing.T) {
		t.Parallel() // each has a run of its own
		ctx, a, other := ctxOf(t), b.open(t, "once"), b.open(t, "once")
		must(a.Join(ctx, &ditherv1.Member{Id: "x", Role: "trainer", Process: "host:7"}, ttl))(t)
		_, err := other.Join(ctx, &ditherv1.Member{Id: "x", Role: "trainer"}, ttl)
		if !errors.Is(err, ErrTaken) || !strings.Contains(err.Error(), `run "once" already has a trainer "x" (host:7)`) {
			t.Errorf("second Join: %v", err)
		}
		must(b.open(t, "once more").Join(ctx, &ditherv1.Member{Id: "x", Role: "trainer"}, ttl))(t) // another run
	})
	t.Run("names that would break a key are refused", func(t *testing.T) {
		t.Parallel() // each has a run of its own
		ctx, a := ctxOf(t), b.open(t, "names")
		for _, id := range []string{"", "a/b", "a\nb"} {
			if _, err := a.Join(ctx, &ditherv1.Member{Id: id, Role: "trainer"}, ttl); err == nil {
				t.Errorf("id %q was taken", id)
			}
		}
	})
	t.Run("one leads, the next waits", func(t *testing.T) {
		t.Parallel() // each has a run of its own
		ctx, a, other := ctxOf(t), b.open(t, "lead"), b.open(t, "lead")
		if who := must(a.Leader(ctx))(t); who != "" {
			t.Errorf("%q leads before anybody stood", who)
		}
		first := must(a.Campaign(ctx, "one", ttl))(t)
		if who := must(other.Leader(ctx))(t); who != "one" {
			t.Errorf("%q leads", who)
		}
		soon, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := other.Campaign(soon, "two", ttl); !errors.Is(err, context.Canceled) {
			t.Errorf("a campaign whose context is over: %v", err)
		}
		won := make(chan *Leadership, 1)
		go func() {
			l, err := other.Campaign(ctx, "three", ttl)
			if err != nil {
				t.Error(err)
			}
			won <- l
		}()
		select {
		case <-won:
			t.Fatal("two lead")
		case <-first.Lost():
			t.Fatal("the first lost the lead to one in line")
		case <-time.After(50 * time.Millisecond): // for a wrong winner to show itself; the right one is not timed
		}
		if err := first.Resign(ctx); err != nil {
			t.Fatal(err)
		}
		closed(t, "Lost of who resigned", first.Lost())
		select {
		case l := <-won:
			if err := other.PutGeneration(ctx, l, &ditherv1.Generation{Number: 1}); err != nil {
				t.Error(err)
			}
		case <-ctx.Done():
			t.Fatal("the next in line did not come to lead")
		}
		if who := must(a.Leader(ctx))(t); who != "three" {
			t.Errorf("%q leads", who)
		}
	})
	t.Run("generations follow one another", func(t *testing.T) {
		t.Parallel() // each has a run of its own
		ctx, a, other := ctxOf(t), b.open(t, "gen"), b.open(t, "gen")
		watch := other.WatchGeneration(ctx)
		l := must(a.Campaign(ctx, "one", ttl))(t)
		if g := must(a.Generation(ctx))(t); g != nil {
			t.Errorf("%v is in force before there was one", g)
		}
		if err := a.PutGeneration(ctx, l, &ditherv1.Generation{Number: 0}); !errors.Is(err, ErrStale) {
			t.Errorf("number 0 first: %v", err)
		}
		one := &ditherv1.Generation{Number: 1, Reason: "all are there", AfterIteration: 4, Trainers: []*ditherv1.Member{{Id: "x", FirstShard: 0, EndShard: 3}}}
		if err := a.PutGeneration(ctx, l, one); err != nil {
			t.Fatal(err)
		}
		if got := until(t, "number 1", watch, func(g *ditherv1.Generation) bool { return g.GetNumber() == 1 }); got.String() != one.String() {
			t.Errorf("the generation came back as %v, not %v", got, one)
		}
		for _, n := range []uint64{0, 1, 3} {
			if err := a.PutGeneration(ctx, l, &ditherv1.Generation{Number: n}); !errors.Is(err, ErrStale) {
				t.Errorf("number %d after 1: %v", n, err)
			}
		}
		if err := a.PutGeneration(ctx, l, &ditherv1.Generation{Number: 2}); err != nil {
			t.Fatal(err)
		}
		until(t, "number 2", watch, func(g *ditherv1.Generation) bool { return g.GetNumber() == 2 })
		if g := <-other.WatchGeneration(ctx); g.GetNumber() != 2 {
			t.Errorf("a late watch begins with %v", g)
		}
		if g := must(a.Generation(ctx))(t); g.GetNumber() != 2 {
			t.Errorf("%v is in force", g)
		}
	})
	t.Run("an etcd that is new takes a generation of any number", func(t *testing.T) {
		t.Parallel() // each has a run of its own
		ctx, a := ctxOf(t), b.open(t, "later")
		l := must(a.Campaign(ctx, "one", ttl))(t)
		if err := a.PutGeneration(ctx, l, &ditherv1.Generation{Number: 7}); err != nil {
			t.Error(err)
		}
		if err := a.PutGeneration(ctx, l, &ditherv1.Generation{Number: 7}); !errors.Is(err, ErrStale) {
			t.Errorf("number 7 again: %v", err)
		}
	})
	t.Run("papers pass from leader to leader", func(t *testing.T) {
		t.Parallel() // each has a run of its own
		ctx, a, other := ctxOf(t), b.open(t, "papers"), b.open(t, "papers")
		first := must(a.Campaign(ctx, "one", ttl))(t)
		for _, name := range []string{"log/2", "spec", "log/1", "log/1"} {
			if err := a.PutPaper(ctx, first, name, []byte(name)); err != nil {
				t.Fatal(err)
			}
		}
		line := make(chan *Leadership, 1)
		go func() {
			l, err := other.Campaign(ctx, "two", ttl)
			if err != nil {
				t.Error(err)
			}
			line <- l
		}()
		until(t, "two in line", candidates(ctx, a), func(n int) bool { return n == 2 })
		if err := a.PutPaper(ctx, first, "result", []byte("all is done")); err != nil {
			t.Fatal(err)
		}
		b.expire(t, "papers", "one")
		if err := a.PutPaper(ctx, first, "spec", nil); !errors.Is(err, ErrDeposed) {
			t.Errorf("a paper of the deposed: %v", err)
		}
		if err := a.DropPapers(ctx, first, ""); !errors.Is(err, ErrDeposed) {
			t.Errorf("papers dropped by the deposed: %v", err)
		}
		second := <-line
		all := must(other.Papers(ctx, ""))(t)
		text := ""
		for _, p := range all {
			text += fmt.Sprintf("%s=%s %v; ", p.Name, p.Value, second.StoodBefore(p))
		}
		if text != "log/1=log/1 false; log/2=log/2 false; result=all is done true; spec=spec false; " {
			t.Errorf("the papers are %s", text)
		}
		if err := other.DropPapers(ctx, second, "log/"); err != nil {
			t.Fatal(err)
		}
		if left := must(other.Papers(ctx, ""))(t); len(left) != 2 || left[0].Name != "result" {
			t.Errorf("left are %v", left)
		}
	})
	t.Run("who leads can be watched", func(t *testing.T) {
		t.Parallel() // each has a run of its own
		ctx, a, other := ctxOf(t), b.open(t, "watched"), b.open(t, "watched")
		watch := other.WatchLeader(ctx)
		until(t, "nobody", watch, func(who string) bool { return who == "" })
		l := must(a.Campaign(ctx, "one", ttl))(t)
		until(t, "one", watch, func(who string) bool { return who == "one" })
		won := make(chan error, 1)
		go func() {
			_, err := a.Campaign(ctx, "two", ttl)
			won <- err
		}()
		if err := l.Resign(ctx); err != nil {
			t.Fatal(err)
		}
		until(t, "two", watch, func(who string) bool { return who == "two" })
		if err := <-won; err != nil {
			t.Error(err)
		}
	})
	t.Run("a candidate whose lease ends in line is told", func(t *testing.T) {
		t.Parallel() // each has a run of its own
		ctx, a, other := ctxOf(t), b.open(t, "line"), b.open(t, "line")
		must(a.Campaign(ctx, "one", ttl))(t)
		failed := make(chan error, 1)
		go func() {
			_, err := other.Campaign(ctx, "two", ttl)
			failed <- err
		}()
		until(t, "two in line", candidates(ctx, a), func(n int) bool { return n == 2 })
		b.expire(t, "line", "two")
		if err := <-failed; err == nil || !strings.Contains(err.Error(), "the lease ended in line") {
			t.Errorf("%v", err)
		}
	})
	t.Run("a deposed leader writes nothing", func(t *testing.T) {
		t.Parallel() // each has a run of its own
		ctx, a, other := ctxOf(t), b.open(t, "depose"), b.open(t, "depose")
		old := must(a.Campaign(ctx, "old", ttl))(t)
		if err := a.PutGeneration(ctx, old, &ditherv1.Generation{Number: 1}); err != nil {
			t.Fatal(err)
		}
		b.expire(t, "depose", "old")
		closed(t, "Lost of who was deposed", old.Lost())
		l := must(other.Campaign(ctx, "new", ttl))(t)
		if err := a.PutGeneration(ctx, old, &ditherv1.Generation{Number: 2}); !errors.Is(err, ErrDeposed) {
			t.Errorf("the successor by the deposed: %v", err)
		}
		if err := other.PutGeneration(ctx, l, &ditherv1.Generation{Number: 2}); err != nil {
			t.Error(err)
		}
		if err := a.PutGeneration(ctx, old, &ditherv1.Generation{Number: 2}); !errors.Is(err, ErrDeposed) {
			t.Errorf("a stale number by the deposed: %v", err)
		}
	})
	t.Run("one of many writers wins", func(t *testing.T) {
		t.Parallel() // each has a run of its own
		ctx, a := ctxOf(t), b.open(t, "race")
		l := must(a.Campaign(ctx, "one", ttl))(t)
		results := make(chan error)
		for i := range 8 {
			go func() {
				results <- a.PutGeneration(ctx, l, &ditherv1.Generation{Number: 1, Reason: fmt.Sprint(i)})
			}()
		}
		won := 0
		for range 8 {
			if err := <-results; err == nil {
				won++
			} else if !errors.Is(err, ErrStale) {
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d writers of generation 1 won", won)
		}
	})
	t.Run("a watch ends with its context", func(t *testing.T) {
		t.Parallel() // each has a run of its own
		a := b.open(t, "over")
		ctx, cancel := context.WithCancel(t.Context())
		members, generations := a.WatchMembers(ctx), a.WatchGeneration(ctx)
		cancel()
		for range members {
		}
		for range generations {
		}
	})
	t.Run("a slow reader finds the last value", func(t *testing.T) {
		t.Parallel() // each has a run of its own
		ctx, a := ctxOf(t), b.open(t, "slow")
		watch := a.WatchMembers(ctx)
		want := ""
		for i := range 20 {
			must(a.Join(ctx, &ditherv1.Member{Id: fmt.Sprintf("m%02d", i), Role: "trainer"}, ttl))(t)
			want = strings.TrimSpace(want + fmt.Sprintf(" trainer/m%02d", i))
		}
		until(t, "all twenty", watch, having(want))
	})
}

func TestFake(t *testing.T) {
	f := NewFake()
	contract(t, backend{
		open: func(t *testing.T, run string) Registry { return f.Run(run) },
		expire: func(t *testing.T, run, name string) {
			f.Advance(ttl) // time alone ends no lease that is kept alive
			f.Stall(run, name)
			f.Advance(ttl - 1)
			f.Advance(1)
		},
	})
}
