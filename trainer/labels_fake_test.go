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
	"sync"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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

// lie differs in one bit.
func lie(v []float32) []float32 {
	v = slices.Clone(v)
	v[len(v)-1] = math.Nextafter32(v[len(v)-1], 9999)
	return v
}
