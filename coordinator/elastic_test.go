package coordinator

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/dither-ml/dither/coordinator/membership"
	"github.com/dither-ml/dither/coordinator/runlog"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// bubble runs f in a bubble of time with a run of trainers a, b, ... that have applied three iterations, and say every half second that they live
// until their context ends.
func bubble(t *testing.T, trainers int, f func(t *testing.T, w *cluster, all []*fakeTrainer, still []context.CancelFunc)) {
	synctest.Test(t, func(t *testing.T) {
		config := configFor(t.TempDir(), trainers)
		config.Silence = 2 * time.Second
		w := start(t, config)
		var all []*fakeTrainer
		var still []context.CancelFunc
		for i := range trainers {
			a := w.join(string(rune('a' + i)))
			ctx, cancel := context.WithCancel(w.ctx)
			defer cancel()
			a.beats(ctx)
			all, still = append(all, a), append(still, cancel)
		}
		for _, a := range all {
			a.begin()
		}
		all[0].train(1, 3)
		for _, a := range all[1:] {
			a.applied(3)
		}
		synctest.Wait()
		f(t, w, all, still)
		for _, cancel := range still {
			cancel()
		}
		end(t, w, all...)
	})
}

// finishes trains to the end with those who are left, and looks at the record.
func finishes(t *testing.T, w *cluster, generations uint64, all ...*fakeTrainer) {
	t.Helper()
	for _, f := range all {
		if f.rank == 0 {
			f.train(4, iterations)
		}
	}
	for _, f := range all {
		f.applied(iterations)
		f.finish(iterations, paramsA, false)
	}
	if r := w.ends("finished"); r.GetGenerations() != generations || r.GetParametersSha256() != paramsA {
		t.Errorf("the result is %v", r)
	}
	for _, f := range all {
		f.over()
	}
	recorded(t, w.c.config.Dir, generations)
}

// recorded holds the record in dir against that of a whole run.
func recorded(t *testing.T, dir string, generations uint64) {
	t.Helper()
	rec, err := runlog.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(rec.Iterations) != iterations || rec.Result == nil || rec.Result.Phase != "finished" || rec.Result.Generations != generations {
		t.Errorf("%d iterations, and the result %+v", len(rec.Iterations), rec.Result)
	}
	for i, it := range rec.Iterations {
		if it.Iteration != uint32(i+1) || it.Loss != 1/float64(i+1) || it.LabelsSHA256 != labelsSHA256(digests(uint32(i+1))) {
			t.Errorf("line %d is %+v", i+1, it)
		}
	}
}

func TestATrainerIsKilled(t *testing.T) {
	bubble(t, 3, func(t *testing.T, w *cluster, all []*fakeTrainer, still []context.CancelFunc) {
		began := time.Now()
		still[0]()
		all[0].dies() // the one that reports
		all[1].abort(1, 4, digests(4)[2:3], "a")
		g := all[1].enters(2)
		if why := "trainer a (host:a) was lost at iteration 3"; !strings.Contains(g.GetReason(), why) || g.GetAfterIteration() != 3 || g.GetPlanned() || len(g.GetTrainers()) != 2 ||
			g.GetRun() != "r" || g.GetSpecSha256() != specHash || g.GetTrainers()[0].GetTrainSha256() != "train" {
			t.Errorf("generation %v", g)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
		all[2].enters(2)
		// The iteration that was reported last is reported again by who comes first now, and 4 is done again with the labels of its first try.
		all[1].apply(all[1].record(3))
		finishes(t, w, 2, all[1:]...)
	})
}

func TestAFrozenTrainer(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *cluster, all []*fakeTrainer, still []context.CancelFunc) {
		began := time.Now()
		still[1]() // b keeps its lease and its stream, and says nothing
		g := all[0].enters(2)
		if !strings.Contains(g.GetReason(), "trainer b (host:b) was lost at iteration 3: it has been silent for 2s") {
			t.Errorf("generation %v", g)
		}
		if took := time.Since(began); took < 1500*time.Millisecond || took > 2500*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		// It thaws, and is taken in again once it is level.
		all[1].applied(3)
		ctx, cancel := context.WithCancel(w.ctx)
		defer cancel()
		all[1].beats(ctx)
		g = all[1].enters(3)
		if !g.GetPlanned() || !strings.Contains(g.GetReason(), "trainer b (host:b) joins") {
			t.Errorf("generation %v", g)
		}
		all[0].enters(3)
		finishes(t, w, 3, all...)
	})
}

func TestATrainerJoinsAndOneLeaves(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *cluster, all []*fakeTrainer, still []context.CancelFunc) {
		c := w.join("c")
		ctx, cancel := context.WithCancel(w.ctx)
		defer cancel()
		c.beats(ctx)
		time.Sleep(5 * time.Second)
		s, err := w.client.Status(w.ctx, &ditherv1.StatusRequest{})
		if err != nil || s.GetGeneration() != 1 || len(s.GetNotes()) != 1 || s.GetNotes()[0] != "trainer c (host:c) catches up: it has no state yet" {
			t.Errorf("status %v, %v", s, err)
		}
		c.applied(3)
		if g := c.enters(2); !g.GetPlanned() || len(g.GetTrainers()) != 3 || !strings.Contains(g.GetReason(), "trainer c (host:c) joins") {
			t.Errorf("generation %v", g)
		}
		for _, f := range all {
			f.enters(2)
		}
		all[0].send(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Leaving{Leaving: &ditherv1.Leaving{Reason: "SIGTERM"}}})
		if g := c.enters(3); !g.GetPlanned() || len(g.GetTrainers()) != 2 || !strings.Contains(g.GetReason(), "trainer a (host:a) leaves: SIGTERM") {
			t.Errorf("generation %v", g)
		}
		if m := all[0].over(); m.GetRefused() || !strings.Contains(m.GetReason(), "generation 3 goes on without it") {
			t.Errorf("a is told %v", m)
		}
		still[0]()
		all[0].hangUp()
		all[1].enters(3)
		finishes(t, w, 3, all[1], c)
		_ = c.conn.Close()
	})
}

// A stream that breaks is no death: the trainer calls again, and nothing happens. What the coordinator does not have is reported again.
func TestAStreamIsOpenedAgain(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *cluster, all []*fakeTrainer, _ []context.CancelFunc) {
		a := all[0]
		if err := a.conn.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		if a.call(w); a.have != 3 {
			t.Errorf("have %d", a.have)
		}
		// A second stream of the same process takes the place of the first.
		old, oldConn := a.stream, a.conn
		a.call(w)
		if _, err := old.Recv(); err == nil {
			t.Error("the first stream goes on")
		} else {
			refused(t, err, codes.Aborted, `trainer "a" reports on a newer stream`)
		}
		_ = oldConn.Close()
		time.Sleep(5 * time.Second)
		finishes(t, w, 1, all...)
	})
}

// The labels of iteration 4 are not those of the try that broke.
func TestLabelsThatDifferInARedo(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *cluster, all []*fakeTrainer, still []context.CancelFunc) {
		a, b := all[0], all[1]
		if _, err := b.put(3, []byte("three"), nil); err != nil {
			t.Fatal(err)
		}
		b.abort(1, 4, []string{"feedfeedfeedfeed"}, "a") // of shard 2
		still[0]()
		a.dies()
		b.enters(2)
		b.apply(b.record(4))
		if why := b.ordered(); !strings.Contains(why, "the noisy soft labels of iteration 4, shard 2, are not those of the first try (feedfeedfeedfeed from b (host:b), 0000000400000002 from b (host:b))") {
			t.Errorf("ordered to stop because %q", why)
		}
		b.finish(3, paramsA, true)
		if r := w.ends("failed", "check it with `dither noise check`"); r.GetTemporary() || r.GetCheckpoint() != "checkpoints/iteration-00000003.safetensors" {
			t.Errorf("%v", r)
		}
	})
}

// An evaluation is cut in another way after a change of generation; it is recorded once.
func TestAnEvaluationAcrossGenerations(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *cluster, all []*fakeTrainer, still []context.CancelFunc) {
		b := all[1]
		b.part(ditherv1.PartKind_PART_KIND_TEST, 3, 2, 4, 1, 1, 0, 1)
		still[0]()
		all[0].dies()
		b.enters(2)
		for range 2 {
			b.part(ditherv1.PartKind_PART_KIND_TEST, 3, 0, 4, 2, 0, 1, 0, 1, 1, 0, 1)
		}
		finishes(t, w, 2, b)
		rec, err := runlog.Read(w.c.config.Dir)
		if err != nil || *rec.Result.TestLoss != 1 || *rec.Result.TestAccuracy != 0.5 {
			t.Errorf("%+v, %v", rec.Result, err)
		}
		n := 0
		for _, e := range rec.Events {
			if e.Kind == runlog.KindEvaluation {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d evaluations are on record", n)
		}
	})
}

// All are lost; who comes goes on from the newest checkpoint, and what it does again is the same.
func TestAllAreLost(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *cluster, all []*fakeTrainer, still []context.CancelFunc) {
		if _, err := all[0].put(2, []byte("two"), nil); err != nil {
			t.Fatal(err)
		}
		for i, f := range all {
			still[i]()
			f.dies()
			synctest.Wait()
		}
		c := w.join("c")
		c.beats(w.ctx)
		if g := c.enters(3); g.GetAfterIteration() != 2 || !strings.Contains(g.GetReason(), "nobody is left with iteration 3") {
			t.Errorf("generation %v", g)
		}
		c.apply(c.record(3))
		finishes(t, w, 3, c)
		_ = c.conn.Close()
	})
}

// An etcd that takes no writes for a while is waited for, and said.
func TestAnEtcdThatFalters(t *testing.T) {
	bubble(t, 2, func(t *testing.T, w *cluster, all []*fakeTrainer, still []context.CancelFunc) {
		w.etcd.Break(context.DeadlineExceeded)
		still[1]()
		time.Sleep(5 * time.Second)
		s, err := w.client.Status(w.ctx, &ditherv1.StatusRequest{})
		if err != nil || !strings.Contains(strings.Join(s.GetNotes(), "; "), "generation 2 waits for etcd: context deadline exceeded") {
			t.Errorf("status %v, %v", s, err)
		}
		w.etcd.Break(nil)
		all[0].enters(2)
		time.Sleep(2 * batchEvery)
		if s, err = w.client.Status(w.ctx, &ditherv1.StatusRequest{}); err != nil || strings.Contains(strings.Join(s.GetNotes(), "; "), "etcd") {
			t.Errorf("status %v, %v", s, err)
		}
		finishes(t, w, 2, all[0])
	})
}

// A trainer in the same process, without a port: what the simulation of a whole cluster is built on.
func TestWithoutAPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config, etcd := configFor(t.TempDir(), 1), membership.NewFake()
		config.Silence, config.Registry, config.Advertise = 0, etcd.Run("r"), "coordinator-1"
		c, err := Start(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		s := c.Attach()
		said := func(m *ditherv1.ReportRequest) {
			t.Helper()
			m.Id = "a"
			if err := s.Receive(m); err != nil {
				t.Fatal(err)
			}
		}
		said(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Hello{Hello: &ditherv1.Hello{Member: trainer("a")}}})
		if m := <-s.Orders(); m.GetHave() != 0 || m.GetOver() {
			t.Errorf("the answer is %v", m)
		}
		if _, err := etcd.Run("r").Join(t.Context(), trainer("a"), time.Minute); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if g := <-etcd.Run("r").WatchGeneration(ctx); g.GetNumber() != 1 {
			t.Errorf("generation %v", g)
		}
		cancel()
		said(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Beat{Beat: &ditherv1.Beat{Generation: 1, Iteration: 1, HasState: true}}})
		if path, err := c.PutCheckpoint(1, specHash, []byte("one")); err != nil || path != relative(1) {
			t.Errorf("%q, %v", path, err)
		}
		if data, err := c.GetFile(ditherv1.FileKind_FILE_KIND_CHECKPOINT); err != nil || string(data) != "one" {
			t.Errorf("%q, %v", data, err)
		}
		_, err = c.GetFile(ditherv1.FileKind_FILE_KIND_INIT)
		refused(t, err, codes.NotFound, "it has no start file")
		c.Stop("that will do")
		if m := <-s.Orders(); !m.GetStop() {
			t.Errorf("told %v", m)
		}
		said(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Finished{Finished: &ditherv1.Finished{Iteration: 1, ParametersSha256: paramsA, Stopped: true}}})
		if m := <-s.Orders(); !m.GetOver() {
			t.Errorf("told %v", m)
		}
		s.Detach("it is through")
		if _, open := <-s.Orders(); open {
			t.Error("orders after the end")
		}
		if r, err := c.Wait(t.Context()); err != nil || r.GetPhase() != "stopped" || r.GetIteration() != 1 {
			t.Errorf("%v, %v", r, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A coordinator that was frozen for longer than Silence heard nobody: that is no silence of theirs.
func TestACoordinatorsOwnPause(t *testing.T) {
	now := time.Now()
	c := &term{config: Config{Silence: 2 * time.Second}}
	a, b := &peer{heard: now.Add(-5 * time.Second)}, &peer{heard: now.Add(-7 * time.Second)}
	c.peers, c.looked = map[string]*peer{"a": a, "b": b}, now.Add(-5*time.Second)
	c.forgive(now)
	if was := now.Sub(a.heard); was != 0 {
		t.Errorf("a is silent for %v after a pause of the coordinator's", was)
	}
	if was := now.Sub(b.heard); was != 2*time.Second {
		t.Errorf("b, which was silent for 2 s before the pause, is so for %v", was)
	}
	c.forgive(now.Add(time.Second / 2))
	if was := now.Sub(a.heard); was != 0 {
		t.Errorf("half a second of nothing to do is taken for a pause: %v", was)
	}
}
