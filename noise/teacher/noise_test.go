package teacher

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/dither-ml/dither/noise"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// stub is a noise that answers another number to every question unless it is told otherwise: not replayable.
type stub struct {
	replayable bool
	away       atomic.Bool
	perturb    func(n int64, k, sample uint32, row []float32)

	rows  atomic.Int64
	mu    sync.Mutex
	asked map[question]int // without hashes
}

func (s *stub) Describe(context.Context) (noise.Description, error) {
	if s.away.Load() {
		return noise.Description{}, fmt.Errorf("noise service n:1 does not answer: %w", noise.ErrUnavailable)
	}
	return noise.Description{Name: "stub", Replayable: s.replayable}, nil
}

func (s *stub) Perturb(_ context.Context, _ uint64, k uint32, samples []uint32, logits, out []float32) error {
	if s.away.Load() {
		return fmt.Errorf("noise service n:1 does not answer: %w", noise.ErrUnavailable)
	}
	classes := len(logits) / len(samples)
	copy(out, logits)
	for i, id := range samples {
		s.mu.Lock()
		if s.asked == nil {
			s.asked = map[question]int{}
		}
		s.asked[question{k, id, 0}]++
		s.mu.Unlock()
		n := s.rows.Add(1)
		if s.perturb != nil {
			s.perturb(n, k, id, out[i*classes:(i+1)*classes])
		} else {
			out[i*classes] += float32(n)
		}
	}
	return nil
}

func (s *stub) Close() error { return nil }

// served is a service with a stub as noise and its journal in dir.
func served(t testing.TB, n *stub, dir string) *Service {
	t.Helper()
	c := config(t)
	c.Noise, c.Journal = n, dir
	c.Run.Spec.Noise = &ditherv1.NoiseSpec{Kind: "service", Service: "stub", Refresh: "iteration"}
	c.Run.Options.NoiseAddress = "n:1"
	c.Run.SpecSha256 = ditherv1.Hash(c.Run.GetSpec())
	s, err := New(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// answer is what the service says, without the shape.
func answer(ctx context.Context, s *Service, k uint32, samples ...uint32) ([]float32, error) {
	r, err := s.NoisyLabels(ctx, &ditherv1.NoisyLabelsRequest{Run: s.Run.GetRun(), SpecSha256: s.Run.GetSpecSha256(), Iteration: k, Samples: samples})
	if err != nil {
		return nil, err
	}
	v := make([]float32, len(samples)*s.classes)
	return v, r.GetLabels().ReadFloat32(v, int64(len(samples)), int64(s.classes))
}

// TestLabelsAreAFunctionOfIterationAndSample: whichever replica is asked, in whatever order and batch, by however many at once, before and after a crash.
func TestLabelsAreAFunctionOfIterationAndSample(t *testing.T) {
	c := config(t)
	replicas := []*Service{opened(t, c), opened(t, c)}
	journalled := served(t, &stub{}, t.TempDir())
	rapid.Check(t, func(rt *rapid.T) {
		known := map[question][]float32{}
		for range rapid.IntRange(1, 8).Draw(rt, "questions") {
			k := rapid.Uint32Range(1, 3).Draw(rt, "iteration")
			ids := rapid.SliceOfN(rapid.Uint32Range(0, 11), 1, 9).Draw(rt, "samples")
			for which, s := range []*Service{replicas[rapid.IntRange(0, 1).Draw(rt, "replica")], journalled} {
				got := ask(t, s, k, ids...)
				for i, id := range ids {
					q, row := question{k, id, uint64(which)}, got[i*s.classes:(i+1)*s.classes]
					if known[q] == nil {
						known[q] = row
					}
					if !slices.Equal(row, known[q]) {
						rt.Fatalf("service %d answers iteration %d, sample %d with %v, and then with %v", which, k, id, known[q], row)
					}
				}
			}
		}
	})
	if journalled.Replayable() || !replicas[0].Replayable() {
		t.Error("which service must be the only one is not known")
	}
}

func TestANoiseThatIsNotReplayableIsAskedOnce(t *testing.T) {
	n, dir := &stub{}, t.TempDir()
	s := served(t, n, dir)
	var all sync.WaitGroup
	got := make([][]float32, 8)
	for i := range got {
		all.Go(func() {
			ids := slices.Clone(everyone(40)[:12])
			if i%2 > 0 {
				slices.Reverse(ids)
			}
			v, err := answer(t.Context(), s, 7, append(ids, ids[3])...)
			if err != nil {
				t.Error(err)
				return
			}
			sameLabels(t, "a sample asked for twice", v[12*s.classes:], v[3*s.classes:4*s.classes])
			if got[i] = v[:12*s.classes]; i%2 > 0 {
				var rows []float32
				for j := 11; j >= 0; j-- {
					rows = append(rows, got[i][j*s.classes:(j+1)*s.classes]...)
				}
				got[i] = rows
			}
		})
	}
	all.Wait()
	for _, v := range got {
		sameLabels(t, "asked by many at once", v, got[0])
	}
	for q, times := range n.asked {
		if times != 1 {
			t.Errorf("%v was asked of the noise %d times", q, times)
		}
	}
	// The teacher is killed; its successor finds the journal, and has no more of the noise.
	next := served(t, &stub{perturb: func(int64, uint32, uint32, []float32) { t.Error("the noise is asked again") }}, crashed(t, dir))
	sameLabels(t, "after a crash", ask(t, next, 7, everyone(40)[:12]...), got[0])
	// A checkpoint of a later iteration covers them.
	next.journal.current = nil
	next.Covered(8)
	if len(next.journal.index) != 0 {
		t.Errorf("%d answers are kept that a checkpoint covers", len(next.journal.index))
	}
	next.Finished()
}

func TestANoiseThatIsNotReplayableNeedsAJournalOfItsOwn(t *testing.T) {
	c := config(t)
	c.Noise, c.Run.Spec.Noise = &stub{}, &ditherv1.NoiseSpec{Kind: "service", Service: "stub", Refresh: "iteration"}
	if _, err := New(t.Context(), c); err == nil || !strings.Contains(err.Error(), "--journal DIR") {
		t.Errorf("without a journal: %v", err)
	}
	c.Journal = t.TempDir()
	served(t, &stub{}, c.Journal)
	if _, err := New(t.Context(), c); !errors.Is(err, ErrJournal) || !strings.Contains(err.Error(), "only one may give the answers") {
		t.Errorf("a second replica: %v", err)
	}
}

func TestAFullDiskRefusesAndIsAskedAgain(t *testing.T) {
	n := &stub{}
	s := served(t, n, t.TempDir())
	write := s.journal.write
	s.journal.write = func(*os.File, []byte, int64) error { return syscall.ENOSPC }
	for range 3 {
		_, err := answer(t.Context(), s, 2, 4, 5)
		if status.Code(err) != codes.ResourceExhausted || !strings.Contains(ditherv1.Message(err), "free some space") {
			t.Fatalf("the answer is %v", err)
		}
	}
	s.journal.write = write
	first := ask(t, s, 2, 4, 5)
	sameLabels(t, "with room again", ask(t, s, 2, 4, 5), first)
}

func TestANoiseThatChangesItsMindIsFound(t *testing.T) {
	n := &stub{replayable: true}
	s := served(t, n, "")
	_, err := answer(t.Context(), s, 3, 6, 7)
	if says := ditherv1.Message(err); status.Code(err) != codes.FailedPrecondition || !strings.Contains(says, "noise service n:1 (stub), asked twice about iteration 3, sample 6, class 0") {
		t.Fatalf("the answer is %v", err)
	}
	// One that begins to, later.
	n = &stub{replayable: true, perturb: func(n int64, k, id uint32, row []float32) { row[0] += float32(k + id) }}
	s = served(t, n, "")
	for range 64 {
		if _, err := answer(t.Context(), s, 3, 6, 7); err != nil {
			t.Fatal(err)
		}
	}
	if rows := n.rows.Load(); rows != 2*64+1 {
		t.Errorf("64 questions about 2 samples asked the noise for %d", rows)
	}
	n.perturb = func(n int64, k, id uint32, row []float32) {
		row[1] = math.Float32frombits(math.Float32bits(row[1]) ^ uint32(n)) // the last bits
	}
	_, err = answer(t.Context(), s, 4, 6, 8, 9)
	if !strings.Contains(ditherv1.Message(err), "iteration 4, sample 8, class 1") {
		t.Fatalf("the answer is %v", err)
	}
}

func TestANoiseThatIsAwayIsWaitedFor(t *testing.T) {
	n := &stub{replayable: true, perturb: func(_ int64, k, id uint32, row []float32) { row[0] += float32(k + id) }}
	s := served(t, n, "")
	want := ask(t, s, 3, 6, 7)
	n.away.Store(true)
	if _, err := answer(t.Context(), s, 3, 6, 7); status.Code(err) != codes.Unavailable || !strings.Contains(ditherv1.Message(err), "noise service n:1 does not answer") {
		t.Fatalf("the answer is %v", err)
	}
	n.away.Store(false)
	sameLabels(t, "once it is back", ask(t, s, 3, 6, 7), want)

	synctest.Test(t, func(t *testing.T) {
		n := &stub{replayable: true}
		n.away.Store(true)
		c := config(t)
		c.Noise, c.Run = n, proto.CloneOf(c.Run)
		c.Run.Spec.Noise = &ditherv1.NoiseSpec{Kind: "service", Service: "stub", Refresh: "iteration"}
		ctx, cancel := context.WithCancelCause(t.Context())
		made := make(chan error, 1)
		begin := func() {
			s, err := New(ctx, c)
			if err == nil {
				err = s.Close()
			}
			made <- err
		}
		go begin()
		synctest.Wait()
		n.away.Store(false)
		if err := <-made; err != nil {
			t.Errorf("a noise that comes later: %v", err)
		}
		n.away.Store(true)
		go begin()
		synctest.Wait()
		cancel(errors.New("enough"))
		if err := <-made; err == nil || err.Error() != "enough" {
			t.Errorf("a noise that does not come: %v", err)
		}
	})
}

func TestWhoGivesUpIsNotWaitedFor(t *testing.T) {
	s := opened(t, config(t))
	if err := s.enter(t.Context()); err != nil { // somebody's forward pass
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := answer(ctx, s, 3, 6)
	s.leave()
	if status.Code(err) != codes.Canceled {
		t.Fatalf("the answer is %v", err)
	}
	if _, err := answer(t.Context(), s, 3, 6); err != nil {
		t.Fatal(err)
	}
}
