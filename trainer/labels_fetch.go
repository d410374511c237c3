package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const (
	labelPatience    = 10 * time.Second      // for an answer, at first
	labelPatienceMax = 10 * time.Minute      // for one that takes long at whoever is asked: doubled each time, so that a slow teacher comes to its end
	labelPause       = 50 * time.Millisecond // before a second try, doubled before each further one
	labelPauseMax    = 2 * time.Second
	compareEvery     = 64 // iterations: of these, one shard's labels are asked of a second replica too
)

// transient are the codes of an answer that another try may better. A service that does not know the run, or the question, is another one at an address
// that a teacher has had.
var transient = map[codes.Code]bool{codes.Unavailable: true, codes.DeadlineExceeded: true, codes.Aborted: true, codes.Canceled: true,
	codes.ResourceExhausted: true, codes.NotFound: true, codes.Unimplemented: true}

// fetch asks one replica after the other until one answers, or ctx ends; the error is ctx's cause or wraps ErrLabels.
func (l *Labels) fetch(ctx context.Context, k uint32, samples []uint32) ([]float32, error) {
	patience, pause := labelPatience, labelPause
	for turn := k + l.offset; ; turn++ {
		r, err := l.replicas.pick(ctx, turn)
		if err != nil {
			return nil, err
		}
		values, err := l.askOnce(ctx, r, k, samples, patience)
		if err == nil {
			l.replicas.answered(r)
			return values, l.compare(ctx, r, k, samples, values)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if errors.Is(err, ErrLabels) {
			return nil, err
		}
		l.replicas.failed(r, err)
		if status.Code(err) == codes.DeadlineExceeded {
			patience = min(2*patience, labelPatienceMax)
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return nil, context.Cause(ctx)
		}
		pause = min(2*pause, labelPauseMax)
	}
}

// askOnce asks one replica. The error wraps ErrLabels, or is a gRPC status of a transient kind.
func (l *Labels) askOnce(ctx context.Context, r *replica, k uint32, samples []uint32, patience time.Duration) ([]float32, error) {
	one, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := r.client.NoisyLabels(one, &ditherv1.NoisyLabelsRequest{Run: l.Run.GetRun(), SpecSha256: l.Run.GetSpecSha256(), Iteration: k, Samples: samples})
	if err != nil {
		s := status.Convert(err)
		if transient[s.Code()] {
			return nil, err
		}
		return nil, fmt.Errorf("%w of iteration %d, of the teacher-logit service at %s: %s", ErrLabels, k, r.address, s.Message())
	}
	values := make([]float32, len(samples)*l.classes)
	if err := answer.GetLabels().ReadFloat32(values, int64(len(samples)), int64(l.classes)); err != nil {
		return nil, fmt.Errorf("%w of iteration %d: the teacher-logit service at %s answered %w", ErrLabels, k, r.address, err)
	}
	for i, v := range values {
		if v-v != 0 {
			return nil, fmt.Errorf("%w of iteration %d: the teacher-logit service at %s answered %v for sample %d, class %d; check the teacher, and the noise with `dither noise check`",
				ErrLabels, k, r.address, v, samples[i/l.classes], i%l.classes)
		}
	}
	return values, nil
}

// compare holds one shard of what first answered to what another replica does, now and then. One that does not answer, or is not there, is no error.
func (l *Labels) compare(ctx context.Context, first *replica, k uint32, samples []uint32, values []float32) error {
	if k%compareEvery != 0 {
		return nil
	}
	second := l.replicas.other(first)
	if second == nil {
		return nil
	}
	size := min(l.perShard, len(samples))
	from := int(k/compareEvery) % (len(samples) / size) * size
	shard, want := samples[from:from+size], values[from*l.classes:(from+size)*l.classes]
	got, err := l.askOnce(ctx, second, k, shard, labelPatience)
	switch {
	case errors.Is(err, ErrLabels):
		return err
	case err != nil:
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		l.replicas.failed(second, err)
		return nil
	}
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			return fmt.Errorf("%w of iteration %d: for sample %d and those that follow, the teacher-logit service at %s answers %s, and the one at %s %s (digests); one of them has another teacher, noise or version, or a fault",
				ErrLabels, k, shard[0], first.address, digest(want), second.address, digest(got))
		}
	}
	return nil
}
