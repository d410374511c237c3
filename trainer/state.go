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
	"github.com/dither-ml/dither/trainer/program"
)

// ModelSpec is the network of a run with its input shape.
func ModelSpec(m *ditherv1.ModelSpec, d *ditherv1.DatasetSpec) model.Spec {
	return model.Spec{Name: m.GetName(), Shortcut: m.GetShortcut(),
		Shape: model.Shape{Channels: int(d.GetChannels()), Height: int(d.GetHeight()), Width: int(d.GetWidth()), Classes: int(d.GetClasses())}}
}

// errNoFile is getFile's answer where the run has no such file.
var errNoFile = errors.New("the run has no such file")

// GetFile fetches a file of the run from its coordinator; wraps errNoFile where there is none.
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
			return nil, fmt.Errorf("%w: %s", errNoFile, ditherv1.Message(err))
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

// start brings the training state to where the run begins or goes on, and says after which iteration that is.
func (t *Trainer) start(ctx context.Context) (uint32, error) {
	raw, err := GetFile(ctx, t.coordinator, ditherv1.FileKind_FILE_KIND_CHECKPOINT)
	if err == nil {
		c, err := checkpoint.Decode(raw)
		if err != nil {
			return 0, fmt.Errorf("the run's checkpoint: %w", err)
		}
		if err := t.accepts(c); err != nil {
			return 0, err
		}
		return c.Meta.Iteration, load(t.program, c, true)
	}
	if !errors.Is(err, errNoFile) {
		return 0, err
	}
	switch spec := t.Run.GetSpec(); spec.GetInit().GetKind() {
	case "teacher":
		return 0, t.startFrom(ctx, ditherv1.FileKind_FILE_KIND_TEACHER, spec.GetTeacher().GetSha256())
	case "file":
		return 0, t.startFrom(ctx, ditherv1.FileKind_FILE_KIND_INIT, spec.GetInit().GetSha256())
	default:
		return 0, StartRandom(t.program, spec.GetSeed())
	}
}

// accepts refuses a checkpoint of another run.
func (t *Trainer) accepts(c *checkpoint.Checkpoint) error {
	if c.Meta.Arithmetic != t.Run.GetSpec().GetArithmetic() {
		return fmt.Errorf("the checkpoint after iteration %d was computed in arithmetic %s and the run is in %s: going on would give other bits; start a new run with --init FILE instead",
			c.Meta.Iteration, c.Meta.Arithmetic, t.Run.GetSpec().GetArithmetic())
	}
	if c.Meta.SpecSHA256 != t.Run.GetSpecSha256() {
		return fmt.Errorf("the checkpoint after iteration %d belongs to the spec %.12s and the run is of spec %.12s; start a new run with --init FILE instead",
			c.Meta.Iteration, c.Meta.SpecSHA256, t.Run.GetSpecSha256())
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

func (t *Trainer) startFrom(ctx context.Context, kind ditherv1.FileKind, sha256 string) error {
	raw, err := GetFile(ctx, t.coordinator, kind)
	if err != nil {
		return err
	}
	c, err := checkpoint.Decode(raw)
	if err != nil {
		return fmt.Errorf("the start of the run: %w", err)
	}
	if got := Hex(c.Hash()); got != sha256 {
		return fmt.Errorf("the start of the run has parameters sha256 %.12s and the spec says %.12s; the file was changed: give the run the original", got, sha256)
	}
	return load(t.program, c, false)
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

func load(p *program.Training, c *checkpoint.Checkpoint, momentum bool) error {
	if err := LoadParameters(p, c); err != nil || !momentum {
		return err
	}
	for _, m := range c.Momentum {
		if err := p.LoadMomentum(m.Name, m.Data); err != nil {
			return err
		}
	}
	return nil
}

// snapshot is the state after the last applied iteration.
func (t *Trainer) snapshot(iteration uint32) (*checkpoint.Checkpoint, error) {
	c, err := t.Snapshot(iteration)
	if err == nil {
		c.Meta.Version = t.Version
	}
	return c, err
}

// Snapshot is the state between two iterations as a checkpoint, of which iteration is the last applied; it lacks only the version of the binary.
func (s *Share) Snapshot(iteration uint32) (*checkpoint.Checkpoint, error) {
	spec := s.spec
	d := spec.GetDataset()
	c := &checkpoint.Checkpoint{Meta: checkpoint.Meta{SpecSHA256: ditherv1.Hash(spec), Arithmetic: spec.GetArithmetic(), Iteration: iteration,
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
	c.Meta.ParametersSHA256 = Hex(c.Hash())
	return c, nil
}

func byName(ps []model.Parameter) []model.Parameter {
	ps = slices.Clone(ps)
	slices.SortFunc(ps, func(a, b model.Parameter) int { return strings.Compare(a.Name, b.Name) })
	return ps
}

// encoded is a snapshot as a file's bytes.
func (t *Trainer) encoded(iteration uint32) ([]byte, *checkpoint.Checkpoint, error) {
	c, err := t.snapshot(iteration)
	if err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	if err := c.Encode(&b); err != nil {
		return nil, nil, err
	}
	return b.Bytes(), c, nil
}
