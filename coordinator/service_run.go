package coordinator

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// GetRun implements CoordinatorService.
func (s *service) GetRun(context.Context, *ditherv1.GetRunRequest) (*ditherv1.GetRunResponse, error) {
	c := s.c.config
	return &ditherv1.GetRunResponse{Run: c.Run, Spec: c.Spec, SpecSha256: c.SpecSHA256, Options: c.Options, Etcd: s.c.etcd, Trainers: uint32(c.Trainers), Version: c.Version}, nil
}

// Status implements CoordinatorService.
func (s *service) Status(context.Context, *ditherv1.StatusRequest) (*ditherv1.StatusResponse, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.c.status(), nil
}

// Stop implements CoordinatorService.
func (s *service) Stop(_ context.Context, m *ditherv1.StopRequest) (*ditherv1.StopResponse, error) {
	reason := m.GetReason()
	if reason == "" {
		reason = "a user asked for it"
	}
	s.c.Stop(reason)
	return &ditherv1.StopResponse{}, nil
}

// Watch implements CoordinatorService. Who comes when the run is over still gets its result.
func (s *service) Watch(m *ditherv1.WatchRequest, stream grpc.ServerStreamingServer[ditherv1.WatchResponse]) error {
	from := int64(0)
	if !m.GetFromStart() {
		from = s.c.record.feed.now()
	}
	if err := s.c.record.feed.follow(stream.Context(), from, stream.Send); err != nil {
		if stream.Context().Err() != nil {
			return err // the watcher left
		}
		return ditherv1.Fault(codes.Unavailable, err.Error(), "the run's events", "ask for its status instead; training is not affected")
	}
	return nil
}

// Report implements CoordinatorService.
func (s *service) Report(stream grpc.BidiStreamingServer[ditherv1.ReportRequest, ditherv1.ReportResponse]) error {
	r := s.c.openStream()
	ended, written := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(written)
		select {
		case order := <-r.orders:
			_ = stream.Send(order) // a stream that is broken is noticed by who receives
		case <-ended:
		}
	}()
	defer func() {
		close(ended)
		<-written
	}()
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			s.c.closeStream(r, "it closed its report stream without a last word")
			return nil
		}
		if err != nil {
			s.c.closeStream(r, "its connection to the coordinator broke")
			return err
		}
		if err := s.c.receive(r, m); err != nil {
			s.c.closeStream(r, "the coordinator refused its report: "+ditherv1.Message(err))
			return err
		}
	}
}
