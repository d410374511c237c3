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
		if why := a.ordered(); !strings.Contains(why, "no time") {
			t.Errorf("ordered to stop because %q", why)
		}
		a.fail(0, why0, false)
		a.bye()
		late, err := w.client.Report(w.ctx) // is told at once
		if err != nil {
			t.Fatal(err)
		}
		if m, err := late.Recv(); err != nil || !m.GetStop() {
			t.Errorf("a late trainer is told %v, %v", m, err)
		}
		if err := late.CloseSend(); err != nil {
			t.Error(err)
		}
	})
	t.Run("after so many iterations", func(t *testing.T) {
		config := configFor(t.TempDir(), 1)
		config.Options.StopAfter = 3
		w := start(t, config)
		a := w.join("a").begin()
		for k := uint32(1); k <= 3; k++ {
			a.apply(a.record(k))
		}
		a.finish(3, paramsA, true)
		w.ends("stopped", "as --stop-after 3 asks")
		a.bye()
	})
}

const why0 = "told to stop"

func TestWaitsAndGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := configFor(t.TempDir(), 2)
		config.NeedTeacher, config.WaitTimeout = true, 5*time.Minute
		w := start(t, config)
		a := w.join("a")
		synctest.Wait()
		s, err := w.client.Status(w.ctx, &ditherv1.StatusRequest{})
		if err != nil || s.GetPhase() != "waiting" || s.GetReason() != "waiting for 1 more trainer (1 of 2 have joined) and a teacher-logit service" {
			t.Errorf("status %v, %v", s, err)
		}
		if r := w.ends("failed", "gave up after 5m0s of waiting for 1 more trainer (1 of 2 have joined) and a teacher-logit service"); !r.GetTemporary() {
			t.Error("not temporary")
		}
		end(t, w, a)
	})
}

func TestWhoCannotTakePartIsToldWhy(t *testing.T) {
	w := start(t, configFor(t.TempDir(), 1))
	old := w.joinAs(&ditherv1.Member{Id: "old", Role: "trainer", Version: "v0", Arithmetic: "cpu/2", Process: "host:7"})
	if why := old.ordered(); !strings.Contains(why, `old (host:7): its version is "v0", the run's is "v1"`) {
		t.Errorf("told %q", why)
	}
	old.fail(0, why0, true) // its own affair
	old.bye()
	a := w.join("a").begin()
	late := w.join("late")
	if why := late.ordered(); !strings.Contains(why, "generation 1 has its 1 trainer") {
		t.Errorf("told %q", why)
	}
	late.send(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Iteration{Iteration: a.record(1)}})
	_, err := late.stream.Recv()
	refused(t, err, codes.FailedPrecondition, "trainer late is in no generation of run r")
	a.fail(0, "enough", true)
	w.ends("failed", "enough")
	a.bye()
}

func TestReportsThatMakeNoSense(t *testing.T) {
	w, a, b := pair(t)
	known := func(s *ditherv1.StatusResponse) bool {
		return s.GetMembers()[0].GetIterations() == 3 && s.GetMembers()[1].GetIterations() == 3
	}
	eventually(t, w, known)
	for name, c := range map[string]struct {
		id   []string
		code codes.Code
		word string
	}{
		"nobody":     {[]string{""}, codes.InvalidArgument, "does not say whose it is"},
		"two voices": {[]string{"x", "y"}, codes.InvalidArgument, `a record of "y" came on the stream of "x"`},
		"a double":   {[]string{"a"}, codes.AlreadyExists, `trainer "a" reports on another stream already`},
	} {
		stream, err := w.client.Report(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range c.id {
			if err := stream.Send(&ditherv1.ReportRequest{Id: id}); err != nil {
				t.Fatal(name, err)
			}
		}
		_, err = stream.Recv()
		refused(t, err, c.code, c.word)
	}
	// None of this touched the run.
	a.apply(a.record(4))
	b.apply(b.record(4))
	eventually(t, w, func(s *ditherv1.StatusResponse) bool { return s.GetIteration() == 4 && s.GetPhase() == "training" })
	a.fail(4, "enough", true)
	b.fail(4, "enough", true)
	w.ends("failed", "enough")
	a.bye()
	b.bye()
}
