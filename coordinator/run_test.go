package coordinator

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/dither-ml/dither/coordinator/membership"
	"github.com/dither-ml/dither/coordinator/runlog"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// whole goes through a run with the trainers a, b, ... and gives the events and the result.
func whole(t *testing.T, config Config, after uint32) ([]*ditherv1.WatchResponse, *ditherv1.RunResult) {
	t.Helper()
	w := start(t, config)
	events := w.watch(true)
	w.waits()
	if config.NeedTeacher {
		w.teacher("l")
	}
	var all []*fakeTrainer
	for i := range config.Start {
		all = append(all, w.join(string(rune('a'+i))))
	}
	for _, f := range all {
		f.begin()
	}
	for k := after + 1; k <= iterations; k++ {
		for _, f := range all {
			if f.rank == 0 {
				f.apply(f.record(k))
			}
			f.applied(k)
		}
	}
	const images = 5
	values := []float64{1e16, 1, 1, 0, -1e16, 1, 2, 1, 0.5, 0} // [5][2]; the losses' sum depends on its order
	norms := []float64{1e16, 1, -1e16, 1, 0.5}
	if path, err := all[0].put(iterations, []byte("the last state"), nil); err != nil || path != "checkpoints/iteration-00000020.safetensors" {
		t.Errorf("the last checkpoint: %q, %v", path, err)
	}
	for i := len(all) - 1; i >= 0; i-- { // the last images come first
		from, to := images*i/len(all), images*(i+1)/len(all)
		all[i].part(ditherv1.PartKind_PART_KIND_TEST, iterations, uint32(from), images, values[2*from:2*to]...)
		all[i].part(ditherv1.PartKind_PART_KIND_GRADIENT_NORM, iterations, uint32(from), images, norms[from:to]...)
	}
	for _, f := range all {
		f.finish(iterations, paramsA, false)
	}
	r := w.ends("finished", "all 20 iterations are done")
	for _, f := range all {
		f.bye()
	}
	if err := w.c.Close(); err != nil {
		t.Error(err)
	}
	return <-events, r
}

func TestAWholeRun(t *testing.T) {
	var first string
	for _, trainers := range []int{1, 2, 3, 4} {
		t.Run(fmt.Sprint(trainers), func(t *testing.T) {
			config := configFor(t.TempDir(), trainers)
			config.NeedTeacher = true
			events, r := whole(t, config, 0)
			if r.GetIteration() != iterations || r.GetParametersSha256() != paramsA || r.GetGenerations() != 1 || r.GetCheckpoint() != "checkpoints/iteration-00000020.safetensors" ||
				fmt.Sprint(r.GetKernelSets()) != "[generic]" || r.GetTemporary() {
				t.Errorf("the result is %v", r)
			}
			var ks []uint32
			evals := map[string]*ditherv1.Evaluation{}
			phases := ""
			for _, e := range events {
				if e.GetTimeUnixNanos() == 0 {
					t.Errorf("an event without a time: %v", e)
				}
				switch {
				case e.GetIteration() != nil:
					ks = append(ks, e.GetIteration().GetIteration())
				case e.GetEvaluation() != nil:
					evals[e.GetEvaluation().GetKind()] = e.GetEvaluation()
				case e.GetStatus() != nil && !strings.HasSuffix(phases, e.GetStatus().GetPhase()+" "):
					phases += e.GetStatus().GetPhase() + " "
				}
			}
			if len(ks) != iterations || ks[0] != 1 || ks[iterations-1] != iterations {
				t.Errorf("iterations were shown as %v", ks)
			}
			if phases != "waiting training finished " {
				t.Errorf("phases %q", phases)
			}
			if last := events[len(events)-1].GetResult(); last.String() != r.String() {
				t.Errorf("the last event is %v", events[len(events)-1])
			}
			// In image order: ((((1e16 + 1) - 1e16) + 2) + 0.5), and 1e16 + 1 is 1e16.
			if e := evals["test"]; e.GetImages() != 5 || e.GetLoss() != 2.5/5 || e.GetAccuracy() != 3.0/5 {
				t.Errorf("test: %v", e)
			}
			if e := evals["gradient_norm"]; e.GetImages() != 5 || e.GetGradientNorm() != 1.5/5 {
				t.Errorf("gradient norm: %v", e)
			}
			rec, err := runlog.Read(config.Dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(rec.Iterations) != iterations || len(rec.Unknown) > 0 || rec.Result == nil || rec.Result.ParametersSHA256 != paramsA || *rec.Result.TestAccuracy != 0.6 || rec.Result.SpecSHA256 != specHash {
				t.Errorf("the record is %+v", rec)
			}
			// The labels' digest says nothing of who computed which shard.
			digest := rec.Iterations[6].LabelsSHA256
			if want := sha([]byte("0000000700000000" + "0000000700000001" + "0000000700000002" + "0000000700000003")); digest != want {
				t.Errorf("labels sha256 %s, not %s", digest, want)
			}
			if first == "" {
				first = digest
			}
			if digest != first || math.Abs(rec.Iterations[6].Accuracy-7.0/8) > 0 {
				t.Errorf("iteration 7 is %+v", rec.Iterations[6])
			}
			if left, _ := filepath.Glob(filepath.Join(config.Dir, ".*")); len(left) > 0 {
				t.Errorf("left in the folder: %v", left)
			}
		})
	}
}

func TestWhoAsksIsTold(t *testing.T) {
	config := configFor(t.TempDir(), 2)
	config.Files[ditherv1.FileKind_FILE_KIND_TEACHER] = filepath.Join(config.Dir, "teacher.safetensors")
	big := bytes.Repeat([]byte("0123456789abcdef"), 3<<16) // three pieces, whole
	if err := os.WriteFile(config.Files[ditherv1.FileKind_FILE_KIND_TEACHER], append(big, 'x'), 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, config)
	run, err := w.client.GetRun(w.ctx, &ditherv1.GetRunRequest{})
	if err != nil || run.GetRun() != "r" || run.GetSpecSha256() != specHash || run.GetTrainers() != 2 || run.GetTrainersMin() != 1 || run.GetTrainersMax() != 4 || run.GetSilenceMs() != 3600000 || run.GetSpec().GetShards() != 4 || run.GetVersion() != "v1" {
		t.Errorf("GetRun: %v, %v", run, err)
	}
	fetch := func(kind ditherv1.FileKind) ([]byte, int, error) {
		stream, err := w.client.GetFile(w.ctx, &ditherv1.GetFileRequest{Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		var data []byte
		for pieces := 0; ; pieces++ {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return data, pieces, nil
			}
			if err != nil {
				return nil, pieces, err
			}
			if m.GetTotalBytes() != uint64(len(big)+1) {
				t.Errorf("total %d", m.GetTotalBytes())
			}
			data = append(data, m.GetData()...)
		}
	}
	if data, pieces, err := fetch(ditherv1.FileKind_FILE_KIND_TEACHER); err != nil || pieces != 4 || !bytes.Equal(data, append(big, 'x')) {
		t.Errorf("%d bytes in %d pieces, %v", len(data), pieces, err)
	}
	_, _, err = fetch(ditherv1.FileKind_FILE_KIND_CHECKPOINT)
	refused(t, err, codes.NotFound, "run r: it has no checkpoint file")
	_, _, err = fetch(ditherv1.FileKind_FILE_KIND_INIT)
	refused(t, err, codes.NotFound, "it has no start file", "--init FILE")
	_, _, err = fetch(ditherv1.FileKind_FILE_KIND_UNSPECIFIED)
	refused(t, err, codes.InvalidArgument, "no kind of file")
	if err := os.Remove(config.Files[ditherv1.FileKind_FILE_KIND_TEACHER]); err != nil {
		t.Fatal(err)
	}
	_, _, err = fetch(ditherv1.FileKind_FILE_KIND_TEACHER)
	refused(t, err, codes.NotFound, "teacher.safetensors is gone")

	a, b := w.join("a"), w.join("b")
	a.begin()
	b.begin()
	a.train(1, 3)
	b.beat(func(at *ditherv1.Beat) { at.Iteration, at.HasState, at.Doing = 2, true, "training" })
	s := eventually(t, w, func(s *ditherv1.StatusResponse) bool {
		return s.GetMembers()[0].GetIterations() == 3 && s.GetMembers()[1].GetIterations() == 2
	})
	if s.GetMembers()[1].GetDoing() != "training" || s.GetGenerationReason() != "2 trainers own 4 shards" || s.GetCoordinator() != w.c.Address() {
		t.Errorf("status %v", s)
	}
	if s.GetPhase() != "training" || s.GetGeneration() != 1 || s.GetLoss() != 1.0/3 || s.GetIterations() != iterations || s.GetRun() != "r" {
		t.Errorf("status %v", s)
	}
	if m := s.GetMembers(); len(m) != 2 || m[0].GetId() != "a" || m[0].GetFirstShard() != 0 || m[0].GetEndShard() != 2 || m[1].GetFirstShard() != 2 || m[1].GetEndShard() != 4 || m[0].GetIterations() != 3 {
		t.Errorf("members %v", m)
	}
	conn, closer := w.dialConn()
	defer closer()
	if h, err := healthv1.NewHealthClient(conn).Check(w.ctx, &healthv1.HealthCheckRequest{Service: "dither.v1.CoordinatorService"}); err != nil || h.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", h, err)
	}
}

func TestResume(t *testing.T) {
	dir := t.TempDir()
	config := configFor(dir, 2)
	w := start(t, config)
	a, b := w.join("a"), w.join("b")
	a.begin()
	b.begin()
	a.train(1, 12)
	b.applied(12)
	if _, err := a.put(10, []byte("ten"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.Stop(w.ctx, &ditherv1.StopRequest{Reason: "dinner"}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*fakeTrainer{a, b} {
		if why := f.ordered(); !strings.Contains(why, "dinner") {
			t.Errorf("ordered to stop because %q", why)
		}
		f.finish(12, paramsB, true)
	}
	for _, f := range []*fakeTrainer{a, b} {
		f.bye()
	}
	if r := w.ends("stopped", "stopped after iteration 12 of 20: dinner"); r.GetIteration() != 12 || r.GetCheckpoint() != "checkpoints/iteration-00000010.safetensors" {
		t.Errorf("%v", r)
	}
	if err := w.c.Close(); err != nil {
		t.Fatal(err)
	}
	// What was left half written by a crash is no checkpoint.
	half := filepath.Join(dir, "checkpoints", ".iteration-00000011.123.part")
	if err := os.WriteFile(half, []byte("ele"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := launch(t, config, membership.NewFake()); err == nil || !strings.Contains(err.Error(), "(the newest after iteration 10): go on with it with --resume") {
		t.Errorf("a fresh run in that folder: %v", err)
	}
	config.Resume = true
	events, r := whole(t, config, 10)
	if r.GetIteration() != iterations || r.GetParametersSha256() != paramsA {
		t.Errorf("the result is %v", r)
	}
	n := 0
	for _, e := range events {
		if i := e.GetIteration(); i != nil {
			if n++; i.GetIteration() != uint32(n) || i.GetLoss() != 1/float64(n) || i.GetCorrect() != uint32(n)%batch {
				t.Errorf("iteration %d was shown as %v", n, i)
			}
		}
	}
	if n != iterations {
		t.Errorf("%d iterations were shown", n)
	}
	rec, err := runlog.Read(dir)
	if err != nil || len(rec.Iterations) != iterations || rec.Result.Phase != "finished" {
		t.Errorf("the record: %+v, %v", rec, err)
	}
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Errorf("the half is still there: %v", err)
	}
}
