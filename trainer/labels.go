package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"google.golang.org/grpc"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// labeler asks the teacher-logit service for the noisy soft labels of coming iterations, so that a trainer does not wait for them.
type labeler struct {
	run     *ditherv1.GetRunResponse
	client  ditherv1.TeacherServiceClient
	classes int
	samples func(k uint32, dst []uint32) []uint32 // this trainer's samples of iteration k
	depth   uint32
	last    uint32
	asked   map[uint32]chan labels
	ctx     context.Context
	stop    context.CancelFunc
}

// labels is the answer for one iteration: noisy soft labels [n][classes].
type labels struct {
	values []float32
	err    error
}

// newLabeler starts asking at iteration first; the last asked for is last.
func newLabeler(ctx context.Context, run *ditherv1.GetRunResponse, conn grpc.ClientConnInterface, samples func(uint32, []uint32) []uint32, first, last uint32) *labeler {
	l := &labeler{run: run, client: ditherv1.NewTeacherServiceClient(conn), classes: int(run.GetSpec().GetDataset().GetClasses()), samples: samples,
		depth: max(1, run.GetOptions().GetLabelDepth()), last: last, asked: map[uint32]chan labels{}}
	l.ctx, l.stop = context.WithCancel(ctx)
	for k := first; k < first+l.depth; k++ {
		l.ask(k)
	}
	return l
}

func (l *labeler) ask(k uint32) {
	if k > l.last {
		return
	}
	answer := make(chan labels, 1)
	l.asked[k] = answer
	samples := l.samples(k, nil)
	go func() {
		values, err := l.fetch(k, samples)
		answer <- labels{values, err}
	}()
}

func (l *labeler) fetch(k uint32, samples []uint32) ([]float32, error) {
	answer, err := l.client.NoisyLabels(l.ctx, &ditherv1.NoisyLabelsRequest{Run: l.run.GetRun(), SpecSha256: l.run.GetSpecSha256(), Iteration: k, Samples: samples}, grpc.WaitForReady(false))
	if err != nil {
		return nil, fmt.Errorf("noisy soft labels of iteration %d: %w", k, err)
	}
	values := make([]float32, len(samples)*l.classes)
	if err := answer.GetLabels().ReadFloat32(values, int64(len(samples)), int64(l.classes)); err != nil {
		return nil, fmt.Errorf("noisy soft labels of iteration %d: the teacher-logit service answered %w", k, err)
	}
	if !finite(values) {
		return nil, fmt.Errorf("noisy soft labels of iteration %d: the teacher-logit service answered a number that is not finite; check the teacher and the noise with `dither noise check`", k)
	}
	return values, nil
}

// take waits for the labels of iteration k, and asks for those of a later one.
func (l *labeler) take(k uint32) ([]float32, error) {
	l.ask(k + l.depth)
	select {
	case a := <-l.asked[k]:
		delete(l.asked, k)
		return a.values, a.err
	case <-l.ctx.Done():
		return nil, context.Cause(l.ctx)
	}
}

func (l *labeler) close() { l.stop() }

// digest is the first 16 hex digits of the sha256 of labels as little-endian float32.
func digest(v []float32) string {
	t := ditherv1.Float32Tensor(v)
	h := sha256.Sum256(t.GetData())
	return hex.EncodeToString(h[:8])
}
