// Package teacher is the teacher-logit service: the teacher's logits for the view that a sample has at an iteration, from a cache or a forward
// pass, through the noise. Its answers are a function of (spec, iteration, sample): by themselves for a replayable noise, with a journal for another.
package teacher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dither-ml/dither/dataloader"
	"github.com/dither-ml/dither/noise"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/checkpoint"
	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
	"github.com/dither-ml/dither/trainer/program"
)

const (
	pad    = 4  // of the standard augmentation
	images = 32 // of one forward pass; it bounds memory and changes no number
)

// Config is what the service is given.
type Config struct {
	Run     *ditherv1.GetRunResponse
	Kernels kernel.Set      // its arithmetic is the spec's teacher.arithmetic
	Data    *dataloader.Set // the training images
	File    []byte          // the teacher: safetensors of parameters, or of precomputed logits
	Noise   noise.Noise
	Journal string       // folder for the answers of a noise that is not replayable, made where it is needed; "": such a noise is refused
	Cache   string       // file for the teacher's logits, shared with other services of this teacher and these images; "": they are cached in memory
	Logger  *slog.Logger // nil: none
}

// Service implements dither.v1.TeacherService.
type Service struct {
	ditherv1.UnimplementedTeacherServiceServer
	Config
	spec    *ditherv1.RunSpec
	classes int
	order   *dataloader.Order
	logits  []float32 // precomputed [N][classes]; nil where there is a network
	noise   noise.Noise
	journal *Journal // nil where the noise is replayable

	turn     chan struct{} // full while somebody has what follows: one forward pass at a time
	network  *program.Inference
	draws    *program.NoisyInference // the network, where it draws the noise too; else nil
	views    views
	cache    store
	pixels   []byte
	geometry []int32
	ids      []uint32
	out      []float32
	noisy    []float32
	hits     uint64
	misses   uint64
}

// store keeps the soft labels of views by their keys.
type store interface {
	get(key uint64, dst []float32) bool // copies that of key to dst, if it is there
	put(key uint64, logits []float32)   // keeps that of key, as far as there is room
	entries() uint64
	most() uint64 // that there could be
	close() error
}

// New checks that the teacher, the data and the noise are the run's, and is then ready to answer. A noise service that is not there is waited for, until ctx ends.
func New(ctx context.Context, c Config) (_ *Service, err error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	spec := c.Run.GetSpec()
	s := &Service{Config: c, spec: spec, classes: int(spec.GetDataset().GetClasses()), turn: make(chan struct{}, 1)}
	if got, want := c.Data.Train.Hash(), spec.GetDataset().GetTrainSha256(); got != want {
		return nil, fmt.Errorf("the %s training images here are not the run's (sha256 %.12s, not %.12s); give --data the same files on every host", c.Data.Name, got, want)
	}
	train, _ := dataloader.Split(spec.GetSeed(), c.Data.Train.N(), spec.GetDataset().GetValidation())
	if s.order, err = dataloader.NewOrder(spec.GetSeed(), train, int(spec.GetBatch())); err != nil {
		return nil, err
	}
	if spec.GetTeacher().GetModel() == nil {
		err = s.loadLogits()
	} else {
		err = s.loadNetwork()
	}
	if err == nil {
		err = s.takeNoise(ctx)
	}
	if err != nil {
		if s.network != nil {
			s.network.Close()
		}
		if s.cache != nil {
			s.cache.close()
		}
		return nil, err
	}
	return s, nil
}

func (s *Service) loadLogits() error {
	values, sum, err := checkpoint.DecodeLogits(s.File)
	if err != nil {
		return fmt.Errorf("precomputed logits: %w", err)
	}
	if sum != s.spec.GetTeacher().GetSha256() {
		return fmt.Errorf("precomputed logits have sha256 %.12s and the spec says %.12s; the file was changed: give the run the original", sum, s.spec.GetTeacher().GetSha256())
	}
	if len(values) != s.Data.Train.N()*s.classes {
		return fmt.Errorf("precomputed logits hold %d numbers and %d training images of %d classes need %d", len(values), s.Data.Train.N(), s.classes, s.Data.Train.N()*s.classes)
	}
	if s.Cache != "" {
		return errNothingToKeep
	}
	s.logits = values
	s.cache = newCache(0, s.classes, 0)
	return nil
}

func (s *Service) loadNetwork() error {
	t, d := s.spec.GetTeacher(), s.spec.GetDataset()
	if got := s.Kernels.Arithmetic(); got != t.GetArithmetic() {
		return fmt.Errorf("the teacher's forward pass is in arithmetic %s and kernel set %s computes in %s; %s", t.GetArithmetic(), s.Kernels.Name(), got, ditherv1.OtherKernels(got, t.GetArithmetic()))
	}
	c, err := checkpoint.Decode(s.File)
	if err != nil {
		return fmt.Errorf("teacher: %w", err)
	}
	if got := strings.TrimPrefix(c.Hash(), "sha256:"); got != t.GetSha256() {
		return fmt.Errorf("the teacher has parameters sha256 %.12s and the spec says %.12s; the file was changed: give the run the original", got, t.GetSha256())
	}
	shape := model.Shape{Channels: int(d.GetChannels()), Height: int(d.GetHeight()), Width: int(d.GetWidth()), Classes: s.classes}
	network := model.Spec{Name: t.GetModel().GetName(), Shortcut: t.GetModel().GetShortcut(), Shape: shape}
	if n, can := s.drawn(); can {
		if s.draws, err = program.NewNoisyInference(s.Kernels, network, images, d.GetMean(), d.GetStd(), pad, n); err == nil {
			s.network = s.draws.Inference
		}
	} else {
		s.network, err = program.NewInference(s.Kernels, network, images, d.GetMean(), d.GetStd(), pad)
	}
	if err != nil {
		return fmt.Errorf("teacher: %w", err)
	}
	if err := c.Restore(model.Shapes(s.network.Parameters()), s.network.Load); err != nil {
		return fmt.Errorf("teacher: %w", err)
	}
	s.pixels = make([]byte, images*s.imageBytes())
	s.geometry = make([]int32, 3*images)
	s.ids = make([]uint32, images)
	s.out, s.noisy = make([]float32, images*s.classes), make([]float32, images*s.classes)
	return s.openCache()
}

// openCache opens the file that is to be the cache, where there is to be one and it can be had, or makes one in memory.
func (s *Service) openCache() error {
	s.views = viewsOf(s.spec, s.Data)
	most := s.views.count() * uint64(s.Data.Train.N())
	memory := func() *cache { return newCache(s.Run.GetOptions().GetTeacherCacheBytes(), s.classes, most) }
	if s.Cache != "" {
		header, err := cacheHeader(s.spec, s.Data)
		if err == nil {
			var c *cacheFile
			if c, err = openCacheFile(s.Cache, header, s.classes, most, memory, s.Logger); err == nil {
				s.cache = c
				return nil
			}
		}
		if !errors.Is(err, errNoRoom) {
			return err
		}
		s.Logger.Warn("the teacher's logits are cached in memory, not in a file", "reason", err)
	}
	s.cache = memory()
	return nil
}

// Close releases the network, the noise and the journal.
func (s *Service) Close() error {
	s.turn <- struct{}{}
	defer s.leave()
	if s.network != nil {
		s.network.Close()
		s.Logger.Info("the teacher's logits", "hits", s.hits, "misses", s.misses)
	}
	err := errors.Join(s.Noise.Close(), s.cache.close())
	if s.journal != nil {
		err = errors.Join(err, s.journal.Close())
	}
	return err
}

// enter waits until it is the caller's turn, or nobody is there any more who would take the answer.
func (s *Service) enter(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Service) leave() { <-s.turn }

func (s *Service) imageBytes() int { return s.Data.Channels * s.Data.Height * s.Data.Width }

// NoisyLabels implements dither.v1.TeacherService.
func (s *Service) NoisyLabels(ctx context.Context, r *ditherv1.NoisyLabelsRequest) (*ditherv1.NoisyLabelsResponse, error) {
	if err := s.check(r); err != nil {
		return nil, err
	}
	labels, noisy := make([]float32, len(r.GetSamples())*s.classes), make([]bool, len(r.GetSamples()))
	if err := s.softLabels(ctx, r.GetIteration(), r.GetSamples(), labels, noisy); err != nil {
		if ctx.Err() != nil {
			return nil, status.FromContextError(ctx.Err()).Err()
		}
		return nil, ditherv1.Fault(codes.Internal, err.Error(), "teacher-logit service", "see its log")
	}
	if err := s.perturb(ctx, r.GetIteration(), r.GetSamples(), noisy, labels); err != nil {
		return nil, noiseFault(ctx, err)
	}
	return &ditherv1.NoisyLabelsResponse{Labels: ditherv1.Float32Tensor(labels, int64(len(r.GetSamples())), int64(s.classes))}, nil
}

// TeacherStatus implements dither.v1.TeacherService.
func (s *Service) TeacherStatus(ctx context.Context, _ *ditherv1.TeacherStatusRequest) (*ditherv1.TeacherStatusResponse, error) {
	if err := s.enter(ctx); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	defer s.leave()
	return &ditherv1.TeacherStatusResponse{Run: s.Run.GetRun(), SpecSha256: s.Run.GetSpecSha256(), CacheHits: s.hits, CacheMisses: s.misses,
		CacheEntries: s.cache.entries(), CacheCapacity: s.cache.most()}, nil
}

func (s *Service) check(r *ditherv1.NoisyLabelsRequest) error {
	refuse := func(what, todo string) error {
		return ditherv1.Fault(codes.FailedPrecondition, what, "teacher-logit service", todo)
	}
	if r.GetRun() != s.Run.GetRun() {
		// The asker's teacher has had this address before: it is to ask another one.
		return ditherv1.Fault(codes.NotFound, fmt.Sprintf("serves run %s and was asked by run %s", s.Run.GetRun(), r.GetRun()), "teacher-logit service", "each run has one of its own")
	}
	if r.GetSpecSha256() != s.Run.GetSpecSha256() {
		return refuse(fmt.Sprintf("serves run %s of spec %.12s and was asked by run %s of spec %.12s", s.Run.GetRun(), s.Run.GetSpecSha256(), r.GetRun(), r.GetSpecSha256()), "each run has a teacher-logit service of its own")
	}
	if k := r.GetIteration(); k == 0 || k > s.spec.GetIterations() {
		return refuse(fmt.Sprintf("there is no iteration %d in a run of %d", k, s.spec.GetIterations()), "")
	}
	if n := len(r.GetSamples()); n > s.Data.Train.N() { // an answer is as large as its question, many times over
		return refuse(fmt.Sprintf("%d samples were asked for at once, of %d training images", n, s.Data.Train.N()), "ask for those of a batch")
	}
	for _, id := range r.GetSamples() {
		if int(id) >= s.Data.Train.N() {
			return refuse(fmt.Sprintf("there is no sample %d among %d training images", id, s.Data.Train.N()), "")
		}
	}
	return nil
}
