package coordinator

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// leads is the term of a coordinator that leads; another's refusal says who does.
func (s *service) leads(what string) (*term, error) {
	t, why := s.c.current()
	if t == nil {
		return nil, ditherv1.Fault(codes.Unavailable, why, what, "ask etcd who leads")
	}
	return t, nil
}

// Run is what a role needs to take part.
func (c *Coordinator) Run() *ditherv1.GetRunResponse {
	f := c.config
	return &ditherv1.GetRunResponse{Run: f.Run, Spec: f.Spec, SpecSha256: f.SpecSHA256, Options: f.Options, Etcd: c.etcd, Version: f.Version,
		Trainers: uint32(f.Start), TrainersMin: uint32(f.Min), TrainersMax: uint32(f.Max), SilenceMs: uint32(f.Silence.Milliseconds())}
}

// GetRun implements CoordinatorService. One that stands by answers too.
func (s *service) GetRun(context.Context, *ditherv1.GetRunRequest) (*ditherv1.GetRunResponse, error) {
	return s.c.Run(), nil
}

// Status implements CoordinatorService.
func (s *service) Status(context.Context, *ditherv1.StatusRequest) (*ditherv1.StatusResponse, error) {
	t, err := s.leads("Status")
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status(), nil
}

// Stop implements CoordinatorService.
func (s *service) Stop(_ context.Context, m *ditherv1.StopRequest) (*ditherv1.StopResponse, error) {
	if _, err := s.leads("Stop"); err != nil {
		return nil, err
	}
	reason := clip(m.GetReason())
	if reason == "" {
		reason = "a user asked for it"
	}
	s.c.Stop(reason)
	return &ditherv1.StopResponse{}, nil
}

// Watch implements CoordinatorService. Who comes when the run is over still gets its result.
func (s *service) Watch(m *ditherv1.WatchRequest, stream grpc.ServerStreamingServer[ditherv1.WatchResponse]) error {
	t, err := s.leads("Watch")
	if err != nil {
		return err
	}
	var from place
	if !m.GetFromStart() {
		from = t.record.feed.now()
	}
	if err := t.record.feed.follow(stream.Context(), from, stream.Send); err != nil {
		if stream.Context().Err() != nil {
			return err // the watcher left
		}
		return ditherv1.Fault(codes.Unavailable, err.Error(), "the run's events", "ask for its status instead; training is not affected")
	}
	if why := t.why(); why != "" {
		return ditherv1.Fault(codes.Unavailable, why, "the run's events", "watch the coordinator that leads now")
	}
	return nil
}

// Report implements CoordinatorService: a Session over a stream.
func (s *service) Report(stream grpc.BidiStreamingServer[ditherv1.ReportRequest, ditherv1.ReportResponse]) error {
	session := s.c.Attach()
	ended := make(chan error, 1)
	go func() { ended <- session.carry(stream) }() // ends with the stream, at the latest when this returns
	for {
		select {
		case order, open := <-session.Orders():
			if !open && session.detached() {
				return <-ended
			}
			if !open {
				return session.Receive(nil) // says why
			}
			if stream.Send(order) != nil {
				return <-ended // who receives has noticed it, and says more
			}
		case err := <-ended:
			for order := range session.Orders() { // Detach has closed them
				if stream.Send(order) != nil {
					break
				}
			}
			return err
		}
	}
}

// carry takes a stream's records until it ends, one way or another.
func (s *Session) carry(stream grpc.BidiStreamingServer[ditherv1.ReportRequest, ditherv1.ReportResponse]) error {
	for {
		m, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			s.Detach("it closed its report stream")
			return nil
		case err != nil:
			s.Detach("its connection to the coordinator broke")
			return err
		}
		if err := s.Receive(m); err != nil {
			s.Detach("the coordinator refused its report: " + ditherv1.Message(err))
			return err
		}
	}
}
