package teacher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dither-ml/dither/noise"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// noisePause is the time between two tries to reach a noise service that is not there yet.
const noisePause = time.Second

// takeNoise takes the noise as it says it is: a service that is replayable by its own word is held to it, and the answers of one that is not are kept.
func (s *Service) takeNoise(ctx context.Context) error {
	d, err := s.describe(ctx)
	if err != nil {
		return err
	}
	spec := s.spec.GetNoise()
	if want := spec.GetService(); spec.GetKind() == noise.Service && d.Name != want {
		return fmt.Errorf("the noise service calls itself %q and the run's spec says %q; start the one that the run was made with", d.Name, want)
	}
	switch {
	case !d.Replayable && s.Journal == "":
		return fmt.Errorf("the noise %q is not replayable, so its answers must be kept; give --journal DIR, a folder for them", d.Name)
	case !d.Replayable:
		if s.journal, err = OpenJournal(s.Journal, s.classes, s.Logger); err != nil {
			return err
		}
		s.noise = newKeeper(s.Noise, s.journal)
	case spec.GetKind() == noise.Service:
		s.noise = &doubter{Noise: s.Noise, name: d.Name, address: s.Run.GetOptions().GetNoiseAddress()}
	default:
		s.noise = s.Noise
	}
	return nil
}

// describe asks the noise what it is, for as long as it is not there.
func (s *Service) describe(ctx context.Context) (noise.Description, error) {
	for said := false; ; said = true {
		d, err := s.Noise.Describe(ctx)
		if !errors.Is(err, noise.ErrUnavailable) {
			return d, err
		}
		if !said {
			s.Logger.Warn("waiting for the noise", "reason", err)
		}
		pause := time.NewTimer(noisePause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return d, context.Cause(ctx)
		}
	}
}

// Replayable says whether other replicas give the same answers; else this service must be the only one of its run.
func (s *Service) Replayable() bool { return s.journal == nil }

// Covered says that the run has a checkpoint after iteration k, so that earlier answers need not be kept.
func (s *Service) Covered(k uint32) {
	if s.journal == nil {
		return
	}
	if err := s.journal.Drop(k); err != nil {
		s.Logger.Warn("answers that a checkpoint covers are still in the journal", "iteration", k, "error", err)
	}
}

// Finished says that the run has come to its end: nothing need be kept.
func (s *Service) Finished() {
	if s.journal == nil {
		return
	}
	if err := s.journal.Forget(); err != nil {
		s.Logger.Warn("the journal of a run that is over could not be removed", "error", err)
	}
}

// noiseFault is an error of the noise for whoever asked: what another try may better (a noise service that is away, a disk that is full) is told from what it will not.
func noiseFault(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	case errors.Is(err, noise.ErrUnavailable):
		return ditherv1.Fault(codes.Unavailable, err.Error(), "", "")
	case errors.Is(err, ErrJournal):
		return ditherv1.Fault(codes.ResourceExhausted, err.Error(), "", "")
	}
	return ditherv1.Fault(codes.FailedPrecondition, err.Error(), "", "")
}
