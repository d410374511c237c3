package trainer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const labelClasses = 3

// truth is the soft label that every honest replica gives.
func truth(k, sample uint32) []float32 {
	row := make([]float32, labelClasses)
	for c := range row {
		row[c] = float32(k) + float32(sample)/16 + float32(c)/4
	}
	return row
}

func truths(k uint32, samples []uint32) (v []float32) {
	for _, id := range samples {
		v = append(v, truth(k, id)...)
	}
	return v
}

// replicaOf is a replica in memory; answer, where it is set, may do otherwise than tell the truth.
type replicaOf struct {
	answer func(ctx context.Context, k uint32, samples []uint32) ([]float32, error)

	mu     sync.Mutex
	asked  []string // "k: samples", as they came
	closed bool
}

func (r *replicaOf) NoisyLabels(ctx context.Context, q *ditherv1.NoisyLabelsRequest, _ ...grpc.CallOption) (*ditherv1.NoisyLabelsResponse, error) {
	r.mu.Lock()
	answer := r.answer
	r.asked = append(r.asked, fmt.Sprint(q.GetIteration(), ": ", q.GetSamples()))
	r.mu.Unlock()
	v, err := truths(q.GetIteration(), q.GetSamples()), error(nil)
	if answer != nil {
		v, err = answer(ctx, q.GetIteration(), q.GetSamples())
	}
	if err != nil {
		return nil, status.Convert(err).Err()
	}
	return &ditherv1.NoisyLabelsResponse{Labels: ditherv1.Float32Tensor(v, int64(len(v)/labelClasses), labelClasses)}, nil
}

func (r *replicaOf) TeacherStatus(context.Context, *ditherv1.TeacherStatusRequest, ...grpc.CallOption) (*ditherv1.TeacherStatusResponse, error) {
	return nil, errors.New("nobody asks")
}

func (r *replicaOf) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errors.New("closed twice")
	}
	r.closed = true
	return nil
}

func (r *replicaOf) does(answer func(ctx context.Context, k uint32, samples []uint32) ([]float32, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *replicaOf) questions() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

// What a replica may do.
func down(context.Context, uint32, []uint32) ([]float32, error) {
	return nil, status.Error(codes.Unavailable, "connection refused")
}

func frozen(ctx context.Context, _ uint32, _ []uint32) ([]float32, error) {
	<-ctx.Done()
	return nil, status.FromContextError(ctx.Err()).Err()
}

// town is where replicas live.
type town struct {
	teachers chan []*ditherv1.Member
	log      bytes.Buffer
	replicas map[string]*replicaOf                                                    // by address, the last of each
	does     func(ctx context.Context, k uint32, samples []uint32) ([]float32, error) // by those that come
	labels   *Labels
}

// labelsOf starts Labels with the given replicas, of a run with batches of 8 in 4 shards and labels asked for 2 iterations ahead.
func labelsOf(t *testing.T, addresses ...string) *town {
	w := &town{teachers: make(chan []*ditherv1.Member, 1), replicas: map[string]*replicaOf{}}
	run := &ditherv1.GetRunResponse{Run: "r", SpecSha256: "s", Options: &ditherv1.RunOptions{LabelDepth: 2},
		Spec: &ditherv1.RunSpec{Batch: 8, Shards: 4, Dataset: &ditherv1.DatasetSpec{Classes: labelClasses}}}
	w.labels = NewLabels(LabelsConfig{ID: "trainer-0", Run: run, Teachers: w.teachers, Logger: slog.New(slog.NewTextHandler(&w.log, nil)),
		Dial: func(address string) (ditherv1.TeacherServiceClient, io.Closer, error) {
			r := &replicaOf{answer: w.does}
			w.replicas[address] = r
			return r, r, nil
		}})
	w.says(addresses...)
	t.Cleanup(func() {
		w.labels.Close()
		for address, r := range w.replicas {
			if !r.closed {
				t.Errorf("the connection to %s is left open", address)
			}
		}
	})
	return w
}

// says who is there; a trainer is too.
func (w *town) says(addresses ...string) {
	ms := []*ditherv1.Member{{Id: "trainer-0", Role: "trainer", Address: "elsewhere:1"}}
	for _, a := range addresses {
		ms = append(ms, &ditherv1.Member{Id: "teacher-" + a, Role: "teacher", Address: a})
	}
	w.teachers <- ms
	synctest.Wait()
}

// two are this trainer's samples of iteration k: one shard.
func two(k uint32) []uint32 { return []uint32{10 * k, 10*k + 1} }

func (w *town) takes(t *testing.T, k uint32, samples []uint32) {
	t.Helper()
	got, err := w.labels.Take(t.Context(), k)
	if err != nil {
		t.Fatalf("iteration %d: %v", k, err)
	}
	if !slices.Equal(got, truths(k, samples)) {
		t.Fatalf("iteration %d: %v, not %v", k, got, truths(k, samples))
	}
}

func TestLabelsAreAskedAheadAndShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := labelsOf(t, "a:1", "b:1")
		w.labels.Begin(1, 10, two)
		synctest.Wait()
		if n := len(w.replicas["a:1"].asked) + len(w.replicas["b:1"].asked); n != 2 {
			t.Errorf("%d iterations are asked ahead, not 2", n)
		}
		for k := uint32(1); k <= 10; k++ {
			w.takes(t, k, two(k))
		}
		if a, b := len(w.replicas["a:1"].asked), len(w.replicas["b:1"].asked); a != 5 || b != 5 {
			t.Errorf("one replica was asked %d times, the other %d", a, b)
		}
		if len(w.labels.asked) > 0 {
			t.Errorf("requests are left: %v", w.labels.asked)
		}
		if _, err := w.labels.Take(t.Context(), 11); err == nil {
			t.Error("there is an iteration after the last")
		}
	})
}

func TestALostReplicaCostsNothingButTime(t *testing.T) {
	for name, fault := range map[string]func(context.Context, uint32, []uint32) ([]float32, error){"down": down, "frozen": frozen,
		"going down": func(context.Context, uint32, []uint32) ([]float32, error) {
			return nil, status.Error(codes.Canceled, "the server is going down")
		},
		"another service at its port": func(context.Context, uint32, []uint32) ([]float32, error) {
			return nil, status.Error(codes.Unimplemented, "unknown service")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := labelsOf(t, "a:1", "b:1")
				w.labels.Begin(1, 60, two)
				w.takes(t, 1, two(1))
				w.replicas["a:1"].does(fault)
				began := time.Now()
				for k := uint32(2); k <= 40; k++ {
					w.takes(t, k, two(k))
				}
				if d := time.Since(began); d > 2*labelPatience+time.Second {
					t.Errorf("39 iterations with one replica took %v", d)
				}
				if why := w.labels.Waiting(); why != "" {
					t.Errorf("it is %s", why)
				}
				w.says("b:1")
				if !w.replicas["a:1"].closed {
					t.Error("the connection to one that is gone is open")
				}
				w.takes(t, 41, two(41))
				if n := strings.Count(w.log.String(), "WARN"); n != 1 {
					t.Errorf("said %d times that a replica is lost:\n%s", n, &w.log)
				}
			})
		})
	}
}

func TestLabelsWaitForATeacherHoweverLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := labelsOf(t)
		w.labels.Begin(1, 5, two)
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, errors.New("enough"))
		defer cancel()
		if _, err := w.labels.Take(ctx, 1); err == nil || err.Error() != "enough" {
			t.Fatalf("without teachers: %v", err)
		}
		if !strings.Contains(w.labels.Waiting(), "none is in the run") || strings.Count(w.log.String(), "none is in the run") != 1 {
			t.Errorf("waiting: %q, said:\n%s", w.labels.Waiting(), &w.log)
		}
		w.says("a:1") // takes over the requests that wait
		w.takes(t, 1, two(1))
		synctest.Wait()
		w.replicas["a:1"].does(down)
		w.takes(t, 2, two(2)) // was there already, as is the third
		w.takes(t, 3, two(3))
		ctx, cancel = context.WithTimeoutCause(t.Context(), time.Hour, errors.New("enough"))
		defer cancel()
		if _, err := w.labels.Take(ctx, 4); err == nil || err.Error() != "enough" {
			t.Fatalf("with a teacher that is down: %v", err)
		}
		if why := w.labels.Waiting(); !strings.Contains(why, "a:1: connection refused") {
			t.Errorf("waiting: %q", why)
		}
		if n := len(w.replicas["a:1"].questions()); n > 2*3600+10 {
			t.Errorf("a teacher that is down was asked %d times within an hour", n)
		}
		w.says("c:7") // its successor
		w.takes(t, 4, two(4))
		close(w.teachers) // nobody tells any more
		w.takes(t, 5, two(5))
	})
}

func TestASlowTeacherComesToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := labelsOf(t, "a:1")
		w.replicas["a:1"].does(func(ctx context.Context, k uint32, samples []uint32) ([]float32, error) {
			select {
			case <-time.After(70 * time.Second):
				return truths(k, samples), nil
			case <-ctx.Done():
				return nil, status.FromContextError(ctx.Err()).Err()
			}
		})
		w.labels.Begin(1, 2, two)
		w.takes(t, 1, two(1))
		w.takes(t, 2, two(2))
	})
}

func TestWhatNoOtherTryWillBetterIsAnError(t *testing.T) {
	nan := float32(math.NaN())
	for name, c := range map[string]struct {
		answer func(k uint32, samples []uint32) ([]float32, error)
		says   string
	}{
		"a noise that lies": {func(uint32, []uint32) ([]float32, error) {
			return nil, status.Error(codes.FailedPrecondition, "noise service n:1 (iteration 3, sample 5): it answered NaN")
		}, "bad noisy soft labels of iteration 3, of the teacher-logit service at a:1: noise service n:1 (iteration 3, sample 5): it answered NaN"},
		"a teacher that is none": {func(uint32, []uint32) ([]float32, error) {
			return nil, status.Error(codes.Internal, "the teacher's logits of training image 7 are not finite")
		}, "a:1: the teacher's logits of training image 7 are not finite"},
		"another question": {func(uint32, []uint32) ([]float32, error) {
			return nil, status.Error(codes.InvalidArgument, "no sample 9")
		}, "a:1: no sample 9"},
		"shape": {func(k uint32, s []uint32) ([]float32, error) { return truths(k, s[1:]), nil }, "the teacher-logit service at a:1 answered a tensor ELEMENT_TYPE_F32 [1 3] where"},
		"no number": {func(k uint32, s []uint32) ([]float32, error) {
			return append(truths(k, s[:1]), 1, nan, 1), nil
		}, "the teacher-logit service at a:1 answered NaN for sample 31, class 1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := labelsOf(t, "a:1")
				w.replicas["a:1"].does(func(_ context.Context, k uint32, s []uint32) ([]float32, error) {
					if k == 3 {
						return c.answer(k, s)
					}
					return truths(k, s), nil
				})
				w.labels.Begin(1, 5, two)
				w.takes(t, 1, two(1))
				w.takes(t, 2, two(2))
				_, err := w.labels.Take(t.Context(), 3)
				if !errors.Is(err, ErrLabels) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "rpc error") {
					t.Errorf("the error is %v", err)
				}
			})
		})
	}
}

// lie differs in one bit.
func lie(v []float32) []float32 {
	v = slices.Clone(v)
	v[len(v)-1] = math.Nextafter32(v[len(v)-1], 9999)
	return v
}

func TestAReplicaThatDiffersIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := labelsOf(t, "a:1", "b:1")
		w.replicas["b:1"].does(func(_ context.Context, k uint32, s []uint32) ([]float32, error) {
			return lie(truths(k, s)), nil
		})
		w.labels.Begin(60, 70, func(k uint32) []uint32 { return []uint32{k, k + 1, k + 2, k + 3} })
		for k := uint32(60); k < 64; k++ {
			if _, err := w.labels.Take(t.Context(), k); err != nil {
				t.Fatal(err)
			}
		}
		_, err := w.labels.Take(t.Context(), 64)
		honest := truths(64, []uint32{66, 67}) // the second of two shards
		if !errors.Is(err, ErrLabels) {
			t.Fatalf("the error is %v", err)
		}
		for _, says := range []string{"iteration 64: for sample 66 ", "a:1", "b:1", digest(honest), digest(lie(honest))} {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("the error does not say %q: %v", says, err)
			}
		}
	})
	// One that does not answer the second question is no error, and costs its patience at most.
	synctest.Test(t, func(t *testing.T) {
		w := labelsOf(t, "a:1", "b:1")
		four := func(k uint32) []uint32 { return []uint32{k, k + 1, k + 2, k + 3} }
		w.labels.Begin(63, 66, four)
		for _, r := range w.replicas {
			r.does(func(ctx context.Context, k uint32, s []uint32) ([]float32, error) {
				if len(s) == 2 {
					return frozen(ctx, k, s)
				}
				return truths(k, s), nil
			})
		}
		for k := uint32(63); k <= 66; k++ {
			w.takes(t, k, four(k))
		}
		if asked := fmt.Sprint(w.replicas["a:1"].questions(), w.replicas["b:1"].questions()); !strings.Contains(asked, "64: [66 67]") {
			t.Errorf("no second question was asked: %s", asked)
		}
	})
}

func TestANewGenerationKeepsWhatItCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := labelsOf(t, "a:1")
		w.labels.Begin(1, 9, two)
		synctest.Wait()
		four := func(k uint32) []uint32 { return []uint32{10 * k, 10*k + 1, 10*k + 2, 10*k + 3} }
		w.labels.Begin(1, 9, four)
		w.takes(t, 1, four(1))
		w.labels.Begin(2, 9, four) // what is in flight is asked for in the same way
		w.takes(t, 2, four(2))
		synctest.Wait() // the third are there
		w.labels.Begin(3, 9, func(k uint32) []uint32 { return []uint32{10*k + 3, 10 * k} })
		w.takes(t, 3, []uint32{33, 30})
		got := w.replicas["a:1"].questions()
		slices.Sort(got)
		for i, want := range []string{"1: [10 11]", "1: [12 13]", "2: [20 21]", "2: [22 23]", "3: [30 31 32 33]"} {
			if got[i] != want {
				t.Errorf("asked %q, not %q", got[i], want)
			}
		}
		if slices.Contains(got, "3: [33 30]") {
			t.Error("labels that were there are asked for again")
		}
		// Redone, an iteration that was taken is asked for again: its digests are compared.
		w.takes(t, 4, []uint32{43, 40})
		w.labels.Begin(4, 9, two)
		w.takes(t, 4, two(4))
		// What nobody wants any more is given up.
		var given sync.WaitGroup
		given.Add(1)
		w.replicas["a:1"].does(func(ctx context.Context, k uint32, s []uint32) ([]float32, error) {
			if s[0] == 1 {
				defer given.Done()
				return frozen(ctx, k, s)
			}
			return truths(k, s), nil
		})
		w.labels.Begin(8, 8, func(k uint32) []uint32 { return []uint32{1} })
		synctest.Wait()
		w.labels.Begin(8, 8, two)
		given.Wait()
		w.takes(t, 8, two(8))
	})
}

// step is what changes before an iteration is taken.
type step struct {
	teachers   []string // who is there; nil: as before
	first, end int      // shards of a new generation; 0, 0: as before
	redone     bool     // it begins one iteration back
}

// TestLabelsAreThoseOfTheQuestion: whoever is asked, whatever fails and however the shards move.
func TestLabelsAreThoseOfTheQuestion(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		faults := append([]int{0}, rapid.SliceOfN(rapid.IntRange(0, 3), 63, 63).Draw(rt, "faults")...) // not all fail
		depth := rapid.Uint32Range(0, 4).Draw(rt, "depth")
		var steps []step
		for i := range 20 {
			var s step
			if i == 0 || rapid.IntRange(0, 4).Draw(rt, "teachers change") == 0 {
				s.teachers = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a:1", "a:2", "b:1", "c:1"}), 1, 3, rapid.ID).Draw(rt, "teachers")
			}
			if rapid.IntRange(0, 4).Draw(rt, "generation") == 0 {
				s.first = rapid.IntRange(0, 3).Draw(rt, "first")
				s.end = rapid.IntRange(s.first+1, 4).Draw(rt, "end")
				s.redone = rapid.Bool().Draw(rt, "redone")
			}
			steps = append(steps, s)
		}
		var failed string
		synctest.Test(t, func(t *testing.T) { failed = follow(t, faults, depth, steps) })
		if failed != "" {
			rt.Fatal(failed)
		}
	})
}

// follow says in what labels differ from the truth.
func follow(t *testing.T, faults []int, depth uint32, steps []step) string {
	var mu sync.Mutex
	next := 0
	perhaps := func(ctx context.Context, k uint32, s []uint32) ([]float32, error) {
		mu.Lock()
		f := faults[next%len(faults)]
		next++
		mu.Unlock()
		switch f {
		case 1:
			return down(ctx, k, s)
		case 2:
			return frozen(ctx, k, s)
		case 3:
			select {
			case <-time.After(3 * time.Second):
			case <-ctx.Done():
				return frozen(ctx, k, s)
			}
		}
		return truths(k, s), nil
	}
	w := labelsOf(t)
	w.does = perhaps
	w.labels.depth = max(1, depth)
	first, end := 0, 4
	samples := func(k uint32) (ids []uint32) {
		for i := 2 * first; i < 2*end; i++ {
			ids = append(ids, (k*8+uint32(i))*7%97)
		}
		return ids
	}
	k := uint32(60)
	w.labels.Begin(k, 80, samples)
	for _, s := range steps {
		if s.teachers != nil {
			w.says(s.teachers...)
		}
		if s.end > 0 {
			first, end = s.first, s.end
			if s.redone && k > 60 {
				k--
			}
			w.labels.Begin(k, 80, samples)
		}
		got, err := w.labels.Take(t.Context(), k)
		if err != nil || !slices.Equal(got, truths(k, samples(k))) {
			return fmt.Sprintf("iteration %d: %v, %v", k, got, err)
		}
		if len(w.labels.asked) > int(w.labels.depth) {
			return fmt.Sprintf("%d iterations' labels are held", len(w.labels.asked))
		}
		k++
	}
	return ""
}
