package coordinator

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func TestStops(t *testing.T) {
	t.Run("before it began", func(t *testing.T) {
		w := start(t, configFor(t.TempDir(), 2))
		a := w.join("a")
		w.c.Stop("no time")
		w.ends("stopped", "stopped before it began: no time")
		if why := a.over().GetReason(); !strings.Contains(why, "no time") {
			t.Errorf("told %q", why)
		}
		a.hangUp()
		late := w.join("late") // is told at once
		if m := late.over(); m.GetRefused() || !strings.Contains(m.GetReason(), "no time") {
			t.Errorf("a late trainer is told %v", m)
		}
		late.hangUp()
	})
	t.Run("after so many iterations", func(t *testing.T) {
		config := configFor(t.TempDir(), 1)
		config.Options.StopAfter = 3
		w := start(t, config)
		a := w.join("a").begin()
		a.train(1, 3)
		a.finish(3, paramsA, true)
		w.ends("stopped", "as --stop-after 3 asks")
		a.bye()
	})
}

func TestWaitsAndGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := configFor(t.TempDir(), 2)
		config.NeedTeacher, config.WaitTimeout, config.Silence = true, 5*time.Minute, 2*time.Second
		w := start(t, config)
		a := w.join("a")
		a.beats(w.ctx)
		synctest.Wait()
		s, err := w.client.Status(w.ctx, &ditherv1.StatusRequest{})
		if err != nil || s.GetPhase() != "waiting" || s.GetReason() != "waiting for 1 more trainer (1 of 2 have joined) and a teacher-logit service" {
			t.Errorf("status %v, %v", s, err)
		}
		began := time.Now()
		if r := w.ends("failed", "gave up after 5m0s of waiting for 1 more trainer (1 of 2 have joined) and a teacher-logit service"); !r.GetTemporary() {
			t.Error("not temporary")
		}
		if waited := time.Since(began); waited < config.WaitTimeout || waited > config.WaitTimeout+config.Silence/looks {
			t.Errorf("waited %v", waited)
		}
		end(t, w, a)
	})
}

// The generation lost its only trainer: another is waited for, and no longer than --wait.
func TestNobodyIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := configFor(t.TempDir(), 1)
		config.WaitTimeout, config.Silence = time.Minute, 2*time.Second
		w := start(t, config)
		a := w.join("a").begin()
		a.train(1, 3)
		synctest.Wait()
		a.dies()
		if r := w.ends("failed", "trainer a (host:a) was lost at iteration 3: its etcd lease ended", "gave up after 1m0s"); !r.GetTemporary() {
			t.Error("not temporary")
		}
		end(t, w)
	})
}

func TestWhoCannotTakePartIsToldWhy(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*ditherv1.Member)
		why    string
	}{
		"version":         {func(m *ditherv1.Member) { m.Version = "v0" }, `its version is "v0", the run's is "v1"`},
		"arithmetic":      {func(m *ditherv1.Member) { m.Arithmetic = "cpu/1" }, `its arithmetic is "cpu/1"`},
		"training images": {func(m *ditherv1.Member) { m.TrainSha256 = "others" }, "its training images are sha256:others"},
		"test images":     {func(m *ditherv1.Member) { m.TestSha256 = "others" }, "its test images are sha256:others"},
		"spec":            {func(m *ditherv1.Member) { m.SpecSha256 = "another" }, "the spec that it has is sha256:another"},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, configFor(t.TempDir(), 1))
			m := trainer("odd")
			c.change(m)
			odd := w.joinAs(m)
			if told := odd.over(); !told.GetRefused() || !strings.Contains(told.GetReason(), "trainer odd (host:odd): "+c.why) {
				t.Errorf("told %v", told)
			}
			odd.send(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Iteration{Iteration: &ditherv1.IterationRecord{Iteration: 1, Loss: 7}}}) // is not heard
			odd.hangUp()
			a := w.join("a").begin()
			a.train(1, 3)
			a.fail(3, "enough", true)
			w.ends("failed", "enough")
			a.bye()
		})
	}
}

func TestReportsThatMakeNoSense(t *testing.T) {
	w, a, b := pair(t)
	hello := func(m *ditherv1.Member) *ditherv1.ReportRequest {
		return &ditherv1.ReportRequest{Id: m.GetId(), Record: &ditherv1.ReportRequest_Hello{Hello: &ditherv1.Hello{Member: m}}}
	}
	double := trainer("a")
	double.Process = "elsewhere:a"
	long := trainer("long")
	long.Address = strings.Repeat("x", mostHello)
	teacher := trainer("l")
	teacher.Role = "teacher"
	iteration := func(id string, r *ditherv1.IterationRecord) *ditherv1.ReportRequest {
		return &ditherv1.ReportRequest{Id: id, Record: &ditherv1.ReportRequest_Iteration{Iteration: r}}
	}
	for name, c := range map[string]struct {
		say  []*ditherv1.ReportRequest
		code codes.Code
		word string
	}{
		"nobody":         {[]*ditherv1.ReportRequest{{}}, codes.InvalidArgument, "does not say whose it is"},
		"no hello":       {[]*ditherv1.ReportRequest{{Id: "x"}}, codes.InvalidArgument, "speaks before it has said who it is"},
		"two voices":     {[]*ditherv1.ReportRequest{hello(trainer("x")), {Id: "y"}}, codes.InvalidArgument, `a record of "y" came on the stream of "x"`},
		"a double":       {[]*ditherv1.ReportRequest{hello(double)}, codes.AlreadyExists, `trainer "a" reports from another process already (host:a)`},
		"a mask":         {[]*ditherv1.ReportRequest{{Id: "x", Record: &ditherv1.ReportRequest_Hello{Hello: &ditherv1.Hello{Member: trainer("y")}}}}, codes.InvalidArgument, `names the "trainer" "y"`},
		"a teacher":      {[]*ditherv1.ReportRequest{hello(teacher)}, codes.InvalidArgument, `names the "teacher" "l"`},
		"a bad name":     {[]*ditherv1.ReportRequest{hello(trainer("x/y"))}, codes.InvalidArgument, `"x/y" cannot be used as a name`},
		"a long story":   {[]*ditherv1.ReportRequest{hello(long)}, codes.InvalidArgument, "a hello of 16"},
		"iteration 0":    {[]*ditherv1.ReportRequest{hello(trainer("x")), iteration("x", &ditherv1.IterationRecord{})}, codes.InvalidArgument, "iteration 0 of 20"},
		"half a record":  {[]*ditherv1.ReportRequest{hello(trainer("x")), iteration("x", &ditherv1.IterationRecord{Iteration: 4, LabelDigests: []string{"short"}})}, codes.InvalidArgument, "1 label digests for the 4 shards"},
		"a short digest": {[]*ditherv1.ReportRequest{hello(trainer("x")), {Id: "x", Record: &ditherv1.ReportRequest_Aborted{Aborted: &ditherv1.Aborted{Iteration: 4, LabelDigests: []string{"short"}}}}}, codes.InvalidArgument, "has 5 digits"},
		"all are lost":   {[]*ditherv1.ReportRequest{hello(trainer("x")), {Id: "x", Record: &ditherv1.ReportRequest_Aborted{Aborted: &ditherv1.Aborted{Lost: make([]string, 5)}}}}, codes.InvalidArgument, "5 peers are said to be lost, of at most 4"},
	} {
		stream, err := w.client.Report(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range c.say {
			if err := stream.Send(m); err != nil {
				t.Fatal(name, err)
			}
		}
		for err == nil {
			_, err = stream.Recv()
		}
		refused(t, err, c.code, c.word)
	}
	// None of this touched the run.
	a.train(4, 4)
	eventually(t, w, func(s *ditherv1.StatusResponse) bool { return s.GetIteration() == 4 && s.GetPhase() == "training" })
	a.fail(4, "enough", true)
	b.finish(4, paramsA, true)
	w.ends("failed", "enough")
	a.bye()
	b.bye()
}
