package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// rescue bounds how long a failing trainer tries to save its state.
const rescue = 30 * time.Second

// piece is how many bytes of a file travel in one message.
const piece = 1 << 20

// reporter carries this trainer's records to the coordinator, and orders back.
type reporter struct {
	id, kernels string
	stream      ditherv1.CoordinatorService_ReportClient
	stop        chan string   // receives why the run is to stop, once
	received    chan struct{} // closed when the coordinator has closed its side
	cancel      context.CancelFunc
}

func newReporter(ctx context.Context, t *Trainer) (*reporter, error) {
	// The last words are said also when ctx has ended the training.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stream, err := t.coordinator.Report(ctx)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("reporting to the coordinator: %w", err)
	}
	r := &reporter{id: t.ID, kernels: t.Kernels.Name(), stream: stream, stop: make(chan string, 1), received: make(chan struct{}), cancel: cancel}
	go r.listen()
	// An empty record says who is here, so that a refusal finds its way.
	return r, r.send(&ditherv1.ReportRequest{})
}

// listen takes orders until the coordinator closes its side; a coordinator that is gone is an order to stop too.
func (r *reporter) listen() {
	defer close(r.received)
	for {
		order, err := r.stream.Recv()
		if errors.Is(err, io.EOF) {
			return
		}
		reason := order.GetReason()
		if err != nil {
			reason = "the coordinator is gone: " + ditherv1.Message(err)
		}
		if err != nil || order.GetStop() {
			select {
			case r.stop <- reason:
			default:
			}
		}
		if err != nil {
			return
		}
	}
}

func (r *reporter) send(m *ditherv1.ReportRequest) error {
	m.Id, m.KernelSet = r.id, r.kernels
	if err := r.stream.Send(m); err != nil {
		<-r.received
		return errors.New("the coordinator is gone: see its log")
	}
	return nil
}

func (r *reporter) iteration(v *ditherv1.IterationRecord) error {
	return r.send(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Iteration{Iteration: v}})
}

func (r *reporter) part(v *ditherv1.Part) error {
	return r.send(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Part{Part: v}})
}

func (r *reporter) finished(v *ditherv1.Finished) error {
	return r.send(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Finished{Finished: v}})
}

func (r *reporter) failure(v *ditherv1.Failure) error {
	return r.send(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Failure{Failure: v}})
}

// close waits until the coordinator has taken all that was sent.
func (r *reporter) close() error {
	defer r.cancel()
	if err := r.stream.CloseSend(); err != nil {
		return err
	}
	select {
	case <-r.received:
	case <-time.After(rescue):
		r.cancel()
		<-r.received
	}
	return nil
}

// lastWord tells the coordinator which parameters this trainer ends with.
func (t *Trainer) lastWord(applied uint32, stopped bool) error {
	c, err := t.snapshot(applied)
	if err != nil {
		return err
	}
	return t.reporter.finished(&ditherv1.Finished{Iteration: applied, ParametersSha256: c.Meta.ParametersSHA256, Stopped: stopped})
}

// putCheckpoint sends the state after iteration k to the coordinator, which writes it.
func (t *Trainer) putCheckpoint(ctx context.Context, k uint32) error {
	data, _, err := t.encoded(k)
	if err != nil {
		return fmt.Errorf("checkpoint after iteration %d: %w", k, err)
	}
	sum := sha256.Sum256(data)
	stream, err := t.coordinator.PutCheckpoint(ctx)
	if err != nil {
		return fmt.Errorf("checkpoint after iteration %d: %w", k, err)
	}
	head := &ditherv1.PutCheckpointRequest{Iteration: k, SpecSha256: t.Run.GetSpecSha256(), FileSha256: hex.EncodeToString(sum[:]), TotalBytes: uint64(len(data))}
	for from := 0; from < len(data); from += piece {
		head.Data = data[from:min(from+piece, len(data))]
		if stream.Send(head) != nil {
			break // CloseAndRecv says why
		}
		head = &ditherv1.PutCheckpointRequest{}
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		return fmt.Errorf("checkpoint after iteration %d: %w", k, err)
	}
	return nil
}

// saveForRescue sends the last applied state when this trainer gives up, if it is worth keeping. The trainer's own context may be over.
func (t *Trainer) saveForRescue(applied uint32) error {
	c, err := t.snapshot(applied)
	if err != nil {
		return err
	}
	for _, p := range c.Parameters {
		if !finite(p.Data) {
			return fmt.Errorf("parameter %s is not finite", p.Name)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), rescue)
	defer cancel()
	return t.putCheckpoint(ctx, applied)
}
