package coordinator

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/dither-ml/dither/coordinator/membership"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// Over a real etcd: one coordinator leads, one on another folder stands by and takes over, and the run ends in its folder.
func TestATakeoverInEtcd(t *testing.T) {
	e, err := membership.Embed(filepath.Join(t.TempDir(), "etcd"), membership.EmbedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lead := func(standby bool) *Coordinator {
		config := configFor(t.TempDir(), 1)
		config.Etcd, config.Listen, config.Standby = e.Endpoints(), "127.0.0.1:0", standby
		c, err := Start(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := lead(false)
	next := lead(true)
	defer func() {
		if err := next.Close(); err != nil {
			t.Error(err)
		}
	}()
	members, err := membership.Connect(ctx, e.Endpoints(), "r")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = members.Close() }()
	lease, err := members.Join(ctx, trainer("a"), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	// call speaks as a trainer to whoever leads.
	call := func(c *Coordinator) (say func(*ditherv1.ReportRequest), s *Session, have uint32) {
		s = c.Attach()
		say = func(m *ditherv1.ReportRequest) {
			t.Helper()
			m.Id = "a"
			if err := s.Receive(m); err != nil {
				t.Fatal(err)
			}
		}
		say(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Hello{Hello: &ditherv1.Hello{Member: trainer("a"), Beat: &ditherv1.Beat{Generation: 1}}}})
		return say, s, (<-s.Orders()).GetHave()
	}
	train := func(say func(*ditherv1.ReportRequest), from, to uint32) {
		for k := from; k <= to; k++ {
			say(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Iteration{Iteration: &ditherv1.IterationRecord{Iteration: k, Loss: 1 / float64(k), LabelDigests: digests(k), Generation: 1}}})
		}
	}
	say, _, _ := call(first)
	if g := <-members.WatchGeneration(ctx); g.GetNumber() != 1 {
		t.Errorf("generation %v", g)
	}
	train(say, 1, 3)
	for papers := 0; papers == 0; { // until the record is in etcd
		all, err := members.Papers(ctx, paperLog)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range newJournal(all).found {
			if string(line.Text[:15]) == `{"iteration":3,` {
				papers++
			}
		}
	}
	leaders := members.WatchLeader(ctx)
	if err := first.Close(); err != nil { // a run that is not over goes on without it
		t.Error(err)
	}
	for who := range leaders {
		if who == next.Address() {
			break
		}
	}
	for t, _ := next.current(); t == nil; t, _ = next.current() {
		time.Sleep(time.Millisecond) // it leads, and gets ready
	}
	say, s, have := call(next)
	if have != 3 {
		t.Errorf("have %d", have)
	}
	train(say, have+1, iterations)
	say(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Finished{Finished: &ditherv1.Finished{Iteration: iterations, ParametersSha256: paramsA}}})
	if r, err := next.Wait(ctx); err != nil || r.GetPhase() != "finished" || r.GetGenerations() != 1 {
		t.Errorf("%v, %v", r, err)
	}
	s.Detach("it is through")
	if err := lease.Leave(ctx); err != nil {
		t.Error(err)
	}
	recorded(t, next.config.Dir, 1)
}
