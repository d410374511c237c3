package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

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
				synctest.Wait() // what is asked ahead is answered: an answer on its way would say that the replica is back
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
