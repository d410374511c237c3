package trainer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/checkpoint"
	"github.com/dither-ml/dither/trainer/model"
)

// ModelSpec is the network of a run with its input shape.
func ModelSpec(m *ditherv1.ModelSpec, d *ditherv1.DatasetSpec) model.Spec {
	return model.Spec{Name: m.GetName(), Shortcut: m.GetShortcut(),
		Shape: model.Shape{Channels: int(d.GetChannels()), Height: int(d.GetHeight()), Width: int(d.GetWidth()), Classes: int(d.GetClasses())}}
}

// GetFile fetches a file of the run from its coordinator; wraps ErrNoFile where there is none.
func GetFile(ctx context.Context, c ditherv1.CoordinatorServiceClient, kind ditherv1.FileKind) ([]byte, error) {
	stream, err := c.GetFile(ctx, &ditherv1.GetFileRequest{Kind: kind})
	if err != nil {
		return nil, err
	}
	var data []byte
	for total := uint64(0); ; {
		piece, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			if uint64(len(data)) != total {
				return nil, fmt.Errorf("the coordinator sent %d of %d bytes of %v", len(data), total, kind)
			}
			return data, nil
		case status.Code(err) == codes.NotFound:
			return nil, fmt.Errorf("%w: %s", ErrNoFile, ditherv1.Message(err))
		case err != nil:
			return nil, fmt.Errorf("fetching %v from the coordinator: %w", kind, err)
		}
		if total == 0 {
			total = piece.GetTotalBytes()
			data = make([]byte, 0, total)
		}
		data = append(data, piece.GetData()...)
	}
}

// piece is how many bytes of a file or a state travel in one message.
const piece = 1 << 20

// Start implements Work.
func (s *Share) Start(file []byte) error {
	s.applied = 0
	if err := s.program.ClearMomentum(); err != nil {
		return err
	}
	want := ""
	switch init := s.spec.GetInit(); init.GetKind() {
	case "teacher":
		want = s.spec.GetTeacher().GetSha256()
	case "file":
		want = init.GetSha256()
	default:
		return StartRandom(s.program, s.spec.GetSeed())
	}
	c, err := checkpoint.Decode(file)
	if err != nil {
		return fmt.Errorf("the start of the run: %w", err)
	}
	if got := Hex(c.Hash()); got != want {
		return fmt.Errorf("the start of the run has parameters sha256 %.12s and the spec says %.12s; the file was changed: give the run the original", got, want)
	}
	return LoadParameters(s.program, c)
}

// Restore implements Work.
func (s *Share) Restore(data []byte) (uint32, error) {
	c, err := checkpoint.Decode(data)
	if err != nil {
		return 0, fmt.Errorf("the run's checkpoint: %w", err)
	}
	if err := s.accepts(c); err != nil {
		return 0, err
	}
	if err := s.program.ClearMomentum(); err != nil {
		return 0, err
	}
	if err := LoadParameters(s.program, c); err != nil {
		return 0, err
	}
	for _, m := range c.Momentum {
		if err := s.program.LoadMomentum(m.Name, m.Data); err != nil {
			return 0, err
		}
	}
	s.applied = c.Meta.Iteration
	return s.applied, nil
}

// accepts refuses a checkpoint of another run.
func (s *Share) accepts(c *checkpoint.Checkpoint) error {
	if c.Meta.Arithmetic != s.spec.GetArithmetic() {
		return fmt.Errorf("the checkpoint after iteration %d was computed in arithmetic %s and the run is in %s: going on would give other bits; start a new run with --init FILE instead",
			c.Meta.Iteration, c.Meta.Arithmetic, s.spec.GetArithmetic())
	}
	if hash := ditherv1.Hash(s.spec); c.Meta.SpecSHA256 != hash {
		return fmt.Errorf("the checkpoint after iteration %d belongs to the spec %.12s and the run is of spec %.12s; start a new run with --init FILE instead",
			c.Meta.Iteration, c.Meta.SpecSHA256, hash)
	}
	return nil
}

// StartRandom draws the parameters of a run that begins from nothing.
func StartRandom(p loader, seed uint64) error {
	number := uint32(0)
	for _, q := range byName(p.Parameters()) {
		v := make([]float32, q.Len())
		if err := initial(seed, q, number, v); err != nil {
			return err
		}
		if q.Trainable {
			number++
		}
		if err := p.Load(q.Name, v); err != nil {
			return err
		}
	}
	return nil
}

// Hex is a parameters sha256 without its "sha256:".
func Hex(hash string) string { return strings.TrimPrefix(hash, "sha256:") }

// loader takes parameters by name: the programs of training, inference and the gradient norm.
type loader interface {
	Parameters() []model.Parameter
	Load(name string, v []float32) error
}

// LoadParameters puts a checkpoint's parameters into a program, after checking that they are the program's own.
func LoadParameters(p loader, c *checkpoint.Checkpoint) error {
	return c.Restore(model.Shapes(p.Parameters()), p.Load)
}

// Snapshot implements Work.
func (s *Share) Snapshot() (*checkpoint.Checkpoint, error) {
	if s.program == nil {
		return nil, errors.New("the state was lost with the memory of its program")
	}
	spec := s.spec
	d := spec.GetDataset()
	c := &checkpoint.Checkpoint{Meta: checkpoint.Meta{Version: s.version, SpecSHA256: ditherv1.Hash(spec), Arithmetic: spec.GetArithmetic(), Iteration: s.applied,
		Model: spec.GetModel().GetName(), Shortcut: spec.GetModel().GetShortcut(), Dataset: d.GetName(), Classes: int(d.GetClasses()), Channels: int(d.GetChannels()),
		Height: int(d.GetHeight()), Width: int(d.GetWidth()), Mean: d.GetMean(), Std: d.GetStd()}}
	for _, p := range byName(s.program.Parameters()) {
		v := make([]float32, p.Len())
		if err := s.program.Read(p.Name, v); err != nil {
			return nil, err
		}
		c.Parameters = append(c.Parameters, checkpoint.Tensor{Name: p.Name, Shape: p.Shape, Data: v})
		if !p.Trainable {
			continue
		}
		m := make([]float32, p.Len())
		if err := s.program.ReadMomentum(p.Name, m); err != nil {
			return nil, err
		}
		c.Momentum = append(c.Momentum, checkpoint.Tensor{Name: p.Name, Shape: p.Shape, Data: m})
	}
	return c, nil
}

func byName(ps []model.Parameter) []model.Parameter {
	ps = slices.Clone(ps)
	slices.SortFunc(ps, func(a, b model.Parameter) int { return strings.Compare(a.Name, b.Name) })
	return ps
}

// encoded is a snapshot as a file's bytes.
func encoded(c *checkpoint.Checkpoint) ([]byte, error) {
	var b bytes.Buffer
	if err := c.Encode(&b); err != nil {
		return nil, fmt.Errorf("the state after iteration %d: %w", c.Meta.Iteration, err)
	}
	return b.Bytes(), nil
}
