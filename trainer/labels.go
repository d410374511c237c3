package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash/fnv"
	"io"
	"log/slog"
	"slices"
	"sync"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// ErrLabels is wrapped by what is wrong with noisy soft labels whoever is asked again: every trainer would see it at the same iteration. A
// teacher-logit service that is not there, or not in time, is no such error: it is waited for.
var ErrLabels = errors.New("bad noisy soft labels")

// LabelsConfig is what Labels are given.
type LabelsConfig struct {
	ID       string                    // of this trainer: trainers begin at different replicas
	Run      *ditherv1.GetRunResponse  //
	Teachers <-chan []*ditherv1.Member // who is in the run, whenever that changes; of other roles than "teacher" too
	Logger   *slog.Logger              //

	// Dial reaches the service at address; nil: by gRPC.
	Dial func(address string) (ditherv1.TeacherServiceClient, io.Closer, error)
}

// Labels asks the teacher-logit services of a run for the noisy soft labels of coming iterations, so that a trainer does not wait for them.
// Replicas may die and come back, and others may come: a request that is not answered goes to another one, for as long as it takes.
//
// Begin and Take are for one goroutine; at most label_depth + 1 iterations' labels are held.
type Labels struct {
	LabelsConfig
	classes, perShard int
	depth, offset     uint32
	replicas          *replicas
	requests          sync.WaitGroup
	ctx               context.Context
	stop              context.CancelFunc

	last    uint32
	samples func(k uint32) []uint32
	asked   map[uint32]*request // Invariant: of iterations that were not taken yet
}

// request is the question for one iteration. values and err are for reading once done is closed.
type request struct {
	samples []uint32
	values  []float32 // [n][classes]
	err     error
	done    chan struct{}
	giveUp  context.CancelFunc
}

// NewLabels begins to follow who the teachers are; Close ends it.
func NewLabels(c LabelsConfig) *Labels {
	if c.Dial == nil {
		c.Dial = dialTeacher
	}
	spec := c.Run.GetSpec()
	h := fnv.New32a()
	_, _ = io.WriteString(h, c.ID)
	l := &Labels{LabelsConfig: c, classes: int(spec.GetDataset().GetClasses()), perShard: max(1, int(spec.GetBatch()/max(1, spec.GetShards()))),
		depth: max(1, c.Run.GetOptions().GetLabelDepth()), offset: h.Sum32() % 1024, replicas: newReplicas(c.Dial, c.Logger), asked: map[uint32]*request{}}
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.requests.Go(func() { l.replicas.follow(l.ctx, c.Teachers) })
	return l
}

// Begin starts asking for iterations first to last, in which this trainer has the given samples; they are asked for by Begin and Take alone. Requests
// of the generation before are given up, but labels of samples that are there already, or asked for in the same way, are kept.
func (l *Labels) Begin(first, last uint32, samples func(k uint32) []uint32) {
	old := l.asked
	l.last, l.samples, l.asked = last, samples, map[uint32]*request{}
	for k := first; k < first+l.depth; k++ {
		l.ask(k, old[k])
	}
	for k, r := range old {
		if l.asked[k] != r {
			r.giveUp()
		}
	}
}

// Take waits for the labels of iteration k [n][classes], which are then the caller's, and asks for those of a later one. The error is ctx's cause, or wraps
// ErrLabels.
func (l *Labels) Take(ctx context.Context, k uint32) ([]float32, error) {
	if l.asked[k] == nil {
		l.ask(k, nil)
	}
	for ahead := k + 1; ahead <= k+l.depth; ahead++ {
		if l.asked[ahead] == nil {
			l.ask(ahead, nil)
		}
	}
	r := l.asked[k]
	if r == nil {
		return nil, errors.New("no labels were asked for: there is no such iteration")
	}
	select {
	case <-r.done:
		delete(l.asked, k)
		return r.values, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Waiting says, for people, what keeps labels from coming; empty: nothing.
func (l *Labels) Waiting() string { return l.replicas.waiting() }

// Close gives all requests up and lets the connections go.
func (l *Labels) Close() {
	l.stop()
	l.requests.Wait()
	l.replicas.close()
}

// ask begins a request, with what an old one for the same iteration has already.
func (l *Labels) ask(k uint32, old *request) {
	if k > l.last {
		return
	}
	samples := slices.Clone(l.samples(k))
	if old != nil && slices.Equal(old.samples, samples) {
		l.asked[k] = old
		return
	}
	ctx, giveUp := context.WithCancel(l.ctx)
	r := &request{samples: samples, values: make([]float32, len(samples)*l.classes), done: make(chan struct{}), giveUp: giveUp}
	missing := r.keep(old, l.classes)
	l.asked[k] = r
	l.requests.Go(func() {
		defer close(r.done)
		defer giveUp()
		r.err = l.fill(ctx, k, r, missing)
	})
}

// keep copies what old has of r's samples, and gives the places of those that it has not.
func (r *request) keep(old *request, classes int) (missing []int) {
	have := map[uint32]int{}
	if old != nil {
		select {
		case <-old.done:
			for i, id := range old.samples {
				if old.err == nil {
					have[id] = i
				}
			}
		default:
		}
	}
	for i, id := range r.samples {
		if j, there := have[id]; there {
			copy(r.values[i*classes:(i+1)*classes], old.values[j*classes:])
		} else {
			missing = append(missing, i)
		}
	}
	return missing
}

// fill fetches the labels of the samples at the given places.
func (l *Labels) fill(ctx context.Context, k uint32, r *request, places []int) error {
	if len(places) == 0 {
		return nil
	}
	samples := make([]uint32, len(places))
	for j, i := range places {
		samples[j] = r.samples[i]
	}
	values, err := l.fetch(ctx, k, samples)
	if err != nil {
		return err
	}
	for j, i := range places {
		copy(r.values[i*l.classes:(i+1)*l.classes], values[j*l.classes:])
	}
	return nil
}

// digest is the first 16 hex digits of the sha256 of labels as little-endian float32.
func digest(v []float32) string {
	t := ditherv1.Float32Tensor(v)
	h := sha256.Sum256(t.GetData())
	return hex.EncodeToString(h[:8])
}
