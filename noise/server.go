package noise

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

type server struct {
	ditherv1.UnimplementedNoiseServiceServer
	noise Noise
}

// NewServer offers n to others. What does not fit is refused with INVALID_ARGUMENT and the field that it is about. Whose questions carry parameters
// gets the noise with these, if n is Parametrised. n stays the caller's to close.
func NewServer(n Noise) ditherv1.NoiseServiceServer { return &server{noise: n} }

func (s *server) Describe(ctx context.Context, q *ditherv1.DescribeRequest) (*ditherv1.DescribeResponse, error) {
	n, err := s.with(q.GetParameters())
	if err != nil {
		return nil, err
	}
	d, err := n.Describe(ctx)
	if err != nil {
		return nil, asStatus(err)
	}
	return &ditherv1.DescribeResponse{Name: d.Name, Parameters: d.Parameters, Replayable: d.Replayable, Unbiased: d.Unbiased, Variance: d.Variance}, nil
}

func (s *server) Perturb(ctx context.Context, q *ditherv1.PerturbRequest) (*ditherv1.PerturbResponse, error) {
	n, err := s.with(q.GetParameters())
	if err != nil {
		return nil, err
	}
	classes, err := checkTensor(q.GetLogits(), len(q.GetSamples()), 0)
	if err != nil {
		return nil, refuse("logits", err.Error())
	}
	logits := make([]float32, len(q.GetSamples())*classes)
	unpack(logits, q.GetLogits())
	if err := n.Perturb(ctx, q.GetSeed(), q.GetIteration(), q.GetSamples(), logits, logits); err != nil {
		return nil, asStatus(err)
	}
	return &ditherv1.PerturbResponse{Logits: newTensor(len(q.GetSamples()), classes, logits)}, nil
}

func (s *server) with(parameters map[string]float64) (Noise, error) {
	if len(parameters) == 0 {
		return s.noise, nil
	}
	p, ok := s.noise.(Parametrised)
	if !ok {
		return nil, refuse("parameters", "this noise takes no parameters: leave them out")
	}
	n, err := p.With(parameters)
	if err != nil {
		return nil, refuse("parameters", err.Error())
	}
	return n, nil
}

// refuse is INVALID_ARGUMENT about a field of the request.
func refuse(field, why string) error {
	s := status.New(codes.InvalidArgument, why)
	if d, err := s.WithDetails(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: why}}}); err == nil {
		s = d
	}
	return s.Err()
}

func asStatus(err error) error {
	switch {
	case errors.Is(err, ErrRequest):
		return refuse("logits", err.Error())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	case errors.Is(err, ErrUnavailable):
		return status.Error(codes.Unavailable, err.Error())
	}
	return status.Error(codes.Internal, err.Error())
}
