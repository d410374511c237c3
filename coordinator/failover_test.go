package coordinator

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/dither-ml/dither/coordinator/membership"
	"github.com/dither-ml/dither/coordinator/runlog"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// The coordinator is killed at iteration 6 of which it has recorded 5, and etcd or its disk have those; another takes over.
func TestAnotherCoordinatorTakesOver(t *testing.T) {
	for name, folder := range map[string]func(t *testing.T, w *cluster) string{
		"on the same folder":  func(_ *testing.T, w *cluster) string { return w.c.config.Dir },
		"on an empty folder":  func(t *testing.T, _ *cluster) string { return t.TempDir() },
		"on an older folder":  olderFolder,
		"before etcd has all": func(t *testing.T, w *cluster) string { return t.TempDir() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, 2, func(t *testing.T, w *cluster, all []*fakeTrainer, still []context.CancelFunc) {
				a, b := all[0], all[1]
				b.part(ditherv1.PartKind_PART_KIND_TEST, 3, 0, 2, 1, 1, 0, 1)
				if name != "before etcd has all" {
					time.Sleep(2 * batchEvery)
				}
				crash(w)
				config := w.c.config
				config.Dir, config.Registry = folder(t, w), nil
				next, err := launch(t, config, w.etcd)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { end(t, next, all...) }()
				a.applied(6) // trained on meanwhile: nobody hears it
				a.call(next)
				b.call(next)
				if name == "before etcd has all" && a.have > 3 || name != "before etcd has all" && a.have != 3 {
					t.Errorf("have %d", a.have)
				}
				for k := a.have + 1; k <= 6; k++ {
					b.apply(b.record(k)) // who has it sends it, and so may another
					a.apply(a.record(k))
				}
				time.Sleep(2 * grace)
				s, err := next.client.Status(next.ctx, &ditherv1.StatusRequest{})
				if err != nil || s.GetGeneration() != 1 || s.GetIteration() != 6 || s.GetPhase() != "training" || s.GetCoordinator() != next.c.Address() {
					t.Errorf("status %v, %v", s, err)
				}
				still[0]()
				a.dies()
				b.enters(2)
				b.train(7, iterations)
				b.finish(iterations, paramsA, false)
				if r := next.ends("finished"); r.GetGenerations() != 2 {
					t.Errorf("%v", r)
				}
				b.over()
				recorded(t, config.Dir, 2)
				if rec, err := runlog.Read(config.Dir); err != nil || name != "before etcd has all" && (rec.Result.TestLoss == nil || *rec.Result.TestLoss != 0.5) {
					t.Errorf("%+v, %v", rec.Result, err)
				}
				synctest.Wait()
				if papers, err := w.etcd.Run("r").Papers(next.ctx, ""); err != nil || len(papers) != 2 || papers[0].Name != paperResult || papers[1].Name != paperSpec {
					t.Errorf("left in etcd: %v, %v", papers, err)
				}
			})
		})
	}
}

// crash ends a coordinator without a word: its streams break, and its lease ends by itself.
func crash(w *cluster) {
	w.c.cancel()
	w.c.done.Go(func() { w.c.server.Stop() })
	w.c.done.Wait()
	w.etcd.Expire("r", w.c.Address())
}

// olderFolder has the first two iterations, and an event that nobody else has.
func olderFolder(t *testing.T, w *cluster) string {
	t.Helper()
	dir := t.TempDir()
	rec, err := runlog.Read(w.c.config.Dir)
	if err != nil {
		t.Fatal(err)
	}
	log, err := runlog.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range rec.Iterations[:2] {
		if err := log.Iteration(it); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Event(runlog.Event{Kind: runlog.KindStatus, Message: "waiting: of old"}); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// One stands by, on a folder of its own, while another leads; when that one loses its lease the next takes over, and the deposed gets in line again.
func TestOneStandsBy(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *cluster, all []*fakeTrainer, _ []context.CancelFunc) {
		a := all[0]
		config := w.c.config
		config.Dir, config.Standby, config.Advertise = t.TempDir(), true, "second"
		next, err := launch(t, config, w.etcd)
		if err != nil {
			t.Fatal(err)
		}
		defer end(t, next)
		time.Sleep(time.Minute)
		conn, closeConn := next.dialConn()
		defer closeConn()
		healthy := func() string {
			h, err := healthv1.NewHealthClient(conn).Check(w.ctx, &healthv1.HealthCheckRequest{Service: "dither.v1.CoordinatorService"})
			if err != nil {
				t.Fatal(err)
			}
			return h.GetStatus().String()
		}
		if got := healthy(); got != "NOT_SERVING" {
			t.Errorf("in line it is %s", got)
		}
		_, err = next.client.Status(w.ctx, &ditherv1.StatusRequest{})
		refused(t, err, codes.Unavailable, "this coordinator stands by: the one at bufconn leads")
		if run, err := next.client.GetRun(w.ctx, &ditherv1.GetRunRequest{}); err != nil || run.GetRun() != "r" {
			t.Errorf("GetRun in line: %v, %v", run, err)
		}
		early, err := next.client.Report(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, err = early.Recv()
		refused(t, err, codes.Unavailable, "the one at bufconn leads")

		events, err := w.client.Watch(w.ctx, &ditherv1.WatchRequest{FromStart: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := events.Recv(); err != nil {
			t.Fatal(err)
		}
		old := w.term()
		w.etcd.Expire("r", "bufconn")
		_, err = a.stream.Recv()
		refused(t, err, codes.Unavailable, "no longer leads")
		for err = nil; err == nil; {
			var e *ditherv1.WatchResponse
			if e, err = events.Recv(); e.GetResult() != nil {
				t.Errorf("a deposed coordinator says how the run ended: %v", e)
			}
		}
		refused(t, err, codes.Unavailable, `this coordinator no longer leads run "r"`)
		_ = a.conn.Close()
		time.Sleep(2 * standAgain)
		if got := healthy(); got != "SERVING" {
			t.Errorf("as it leads it is %s", got)
		}
		if err := old.registry.PutGeneration(w.ctx, old.lead, &ditherv1.Generation{Number: 2}); err == nil || !strings.Contains(err.Error(), membership.ErrDeposed.Error()) {
			t.Errorf("a generation of the deposed: %v", err)
		}
		// This one was not on standby: for it the run is over for now.
		if r := w.ends("failed", "no longer leads", "the run goes on with another coordinator"); !r.GetTemporary() {
			t.Errorf("%v", r)
		}
		a.call(next)
		finishes(t, next, 1, a)
	})
}

// Whoever was in line when the run ended gets its result, and does not begin it again.
func TestTheRunEndsWhileOneStandsBy(t *testing.T) {
	bubble(t, 1, func(t *testing.T, w *cluster, all []*fakeTrainer, _ []context.CancelFunc) {
		config := w.c.config
		config.Dir, config.Standby, config.Advertise = t.TempDir(), true, "second"
		next, err := launch(t, config, w.etcd)
		if err != nil {
			t.Fatal(err)
		}
		defer end(t, next)
		third, err := launch(t, config, w.etcd)
		if err != nil {
			t.Fatal(err)
		}
		defer end(t, third)
		third.c.Stop("no need")
		third.ends("stopped", "stopped standing by: no need")
		synctest.Wait()
		finishes(t, w, 1, all...)
		if err := w.c.Close(); err != nil {
			t.Error(err)
		}
		if r := next.ends("finished", "all 20 iterations"); r.GetParametersSha256() != paramsA {
			t.Errorf("%v", r)
		}
	})
}

func TestASecondCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, configFor(t.TempDir(), 1))
		began := time.Now()
		if _, err := launch(t, configFor(t.TempDir(), 1), w.etcd); err == nil || !strings.Contains(err.Error(), `run "r" already has a coordinator at bufconn: stop that one`) {
			t.Errorf("a second coordinator: %v", err)
		}
		if waited := time.Since(began); waited != 12*time.Second {
			t.Errorf("waited %v", waited)
		}
		// One that died without a word is followed by the next once its lease ends.
		w.etcd.Stall("r", "bufconn")
		time.AfterFunc(5*time.Second, func() { w.etcd.Advance(10 * time.Second) })
		next, err := launch(t, configFor(t.TempDir(), 1), w.etcd)
		if err != nil {
			t.Fatal(err)
		}
		end(t, w)
		end(t, next)
	})
}

// A generation of which nobody is left is of an execution that is over; its number counts.
func TestAnOldGeneration(t *testing.T) {
	etcd := membership.NewFake()
	first, err := launch(t, configFor(t.TempDir(), 1), etcd)
	if err != nil {
		t.Fatal(err)
	}
	a := first.join("a").begin()
	a.train(1, 3)
	if err := first.c.Close(); err != nil {
		t.Fatal(err)
	}
	_ = a.conn.Close()
	if err := a.lease.Leave(first.ctx); err != nil {
		t.Fatal(err)
	}
	config := configFor(t.TempDir(), 1)
	w, err := launch(t, config, etcd)
	if err != nil {
		t.Fatal(err)
	}
	b := w.join("b")
	if g := b.enters(2); b.have != 0 || g.GetNumber() != 2 || g.GetAfterIteration() != 0 {
		t.Errorf("have %d, %v", b.have, g)
	}
	b.train(1, iterations)
	b.finish(iterations, paramsA, false)
	w.ends("finished")
	b.bye()
	recorded(t, config.Dir, 1)
}

func TestAnotherRunsName(t *testing.T) {
	etcd := membership.NewFake()
	w, err := launch(t, configFor(t.TempDir(), 1), etcd)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.c.Close(); err != nil {
		t.Fatal(err)
	}
	other := configFor(t.TempDir(), 1)
	other.Spec.Seed, other.SpecSHA256 = 7, paramsA
	if _, err := launch(t, other, etcd); err == nil || !strings.Contains(err.Error(), `etcd has another run under this name: run "r" differs in `) || !strings.Contains(err.Error(), "seed") {
		t.Errorf("%v", err)
	}
}
