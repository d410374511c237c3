package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/dither-ml/dither/dataloader"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer"
	"github.com/dither-ml/dither/trainer/checkpoint"
	"github.com/dither-ml/dither/trainer/evaluation"
	"github.com/dither-ml/dither/trainer/program"
	"github.com/dither-ml/dither/trainer/stability"
)

// perturbFlags is what the command line says about perturbed parameters.
type perturbFlags struct {
	list      string
	sds       []float64 // of list, ascending; none: nothing is perturbed
	draws     int
	images    int
	seed      uint64
	stability string
	name      string
}

func (f *perturbFlags) define(s *pflag.FlagSet) {
	s.StringVar(&f.list, "perturb", "", "add N(0, sd^2) to every trainable parameter, for each of these sd (1e-4,1e-3,1e-2), and see how logits and accuracy change")
	s.IntVar(&f.draws, "draws", 8, "with --perturb: perturbations of each sd")
	s.IntVar(&f.images, "perturb-images", 500, "with --perturb: training images over which the change of the logits is taken")
	s.Uint64Var(&f.seed, "seed", 1, "with --perturb: perturbations and those images are functions of it")
	s.StringVar(&f.stability, "stability", "", "with --perturb: put the result into this file of JSON, beside those of other networks")
	s.StringVar(&f.name, "name", "", "with --perturb: what the result is called there; default: the checkpoint's file")
}

// check reads the list, and refuses what does not go together.
func (f *perturbFlags) check(s *pflag.FlagSet) error {
	if !s.Changed("perturb") {
		for _, name := range []string{"draws", "perturb-images", "seed", "stability", "name"} {
			if s.Changed(name) {
				return badInputf("--%s goes with --perturb, the sizes of the perturbations", name)
			}
		}
		return nil
	}
	for _, name := range []string{"gradient-norm", "output"} {
		if s.Changed(name) {
			return badInputf("--%s does not go with --perturb, which gives the gradient norm of --perturb-images; leave it out", name)
		}
	}
	for text := range strings.SplitSeq(f.list, ",") {
		sd, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || !(sd > 0) || math.IsInf(sd, 0) {
			return badInputf("--perturb %s: %q is no standard deviation; give positive numbers such as 1e-4,1e-3,1e-2", f.list, text)
		}
		if slices.Contains(f.sds, sd) {
			return badInputf("--perturb %s: %v is there twice", f.list, sd)
		}
		f.sds = append(f.sds, sd)
	}
	slices.Sort(f.sds)
	if f.draws < 2 || int64(f.draws) > math.MaxUint32 {
		return badInputf("--draws %d: an interval takes at least 2 perturbations", f.draws)
	}
	if f.images < 1 {
		return badInputf("--perturb-images %d: give at least 1", f.images)
	}
	return nil
}

// stabilityEntry is a network in a file of --stability.
type stabilityEntry struct {
	Name           string            `json:"name"`
	SHA256         string            `json:"sha256"` // of the parameters
	Dataset        string            `json:"dataset"`
	GradientNorm   float64           `json:"gradient_norm"`
	Images         int               `json:"images"` // training images, of change and gradient norm
	Draws          int               `json:"draws"`
	Seed           uint64            `json:"seed"`
	Split          string            `json:"split"` // of the accuracies
	AccuracyImages int               `json:"accuracy_images"`
	Accuracy       float64           `json:"accuracy"` // of the network as it is
	Scales         []stability.Scale `json:"scales"`   // sd ascending
}

// perturbResult is what `dither eval --perturb --json` prints.
type perturbResult struct {
	stabilityEntry
	Model           string  `json:"model"`
	KernelSet       string  `json:"kernel_set"`
	Arithmetic      string  `json:"arithmetic"`
	Precision       string  `json:"precision"`
	DataOfficial    bool    `json:"data_official"`
	Seconds         float64 `json:"seconds"`
	PeakMemoryBytes int64   `json:"peak_memory_bytes"`
}

// perturbation is a network on its way through perturbations.
type perturbation struct {
	*evaluator
	flags      *perturbFlags
	parameters []checkpoint.Tensor // trainable ones, in name order
	program    *program.Inference
	changed    evaluation.Batch // whose logits are compared
	judged     evaluation.Batch // that accuracy is about
	bar        *Progress
	done       int // images
}

// stability measures, and gives the result to whoever asked for it.
func (e *evaluator) stability(ctx context.Context, f *perturbFlags, path, split string, images dataloader.Images, ids []uint32) error {
	if f.name == "" {
		f.name = filepath.Base(path)
	}
	if f.stability != "" { // before the work, whose result it could not take
		if _, err := readStability(f.stability); err != nil {
			return err
		}
	}
	r, err := e.perturb(ctx, f, split, images, ids)
	if err != nil {
		return err
	}
	if f.stability != "" {
		replaced, err := putStability(f.stability, r.stabilityEntry)
		if err != nil {
			return err
		}
		if replaced {
			fmt.Fprintf(e.app.stderr, "dither: %s had a network named %s, which this one replaces\n", f.stability, f.name)
		}
	}
	return e.app.result(r, r.print)
}

// perturb measures what perturbations do to the logits of training images, and to the accuracy on the images given.
func (e *evaluator) perturb(ctx context.Context, f *perturbFlags, split string, images dataloader.Images, ids []uint32) (*perturbResult, error) {
	began := time.Now()
	sample := dataloader.Subset(f.seed, e.set.Train.N(), f.images)
	p := &perturbation{evaluator: e, flags: f, parameters: trainableByName(e.checkpoint), changed: e.batch(e.set.Train, sample, stride), judged: e.batch(images, ids, stride)}
	var err error
	if p.program, err = program.NewInference(e.kernels, e.network(), evalImages, e.mean, e.std, trainer.Pad); err != nil {
		return nil, badInput(err)
	}
	defer p.program.Close()
	if err := trainer.LoadParameters(p.program, e.checkpoint); err != nil {
		return nil, badInput(err)
	}
	norms, err := e.norms(ctx, e.set.Train, sample)
	if err != nil {
		return nil, err
	}
	r := &perturbResult{stabilityEntry: stabilityEntry{Name: f.name, SHA256: trainer.Hex(e.checkpoint.Hash()), Dataset: e.set.Name, GradientNorm: mean(evaluation.SumLogits(norms, e.set.Classes)),
		Images: len(sample), Draws: f.draws, Seed: f.seed, Split: split, AccuracyImages: len(ids)},
		Model: e.checkpoint.Meta.Model, KernelSet: e.kernels.Name(), Arithmetic: e.kernels.Arithmetic(), Precision: ditherv1.Precision(e.kernels.Arithmetic()), DataOfficial: e.set.Official}
	if err := p.measure(ctx, &r.stabilityEntry); err != nil {
		return nil, err
	}
	r.Seconds, r.PeakMemoryBytes = time.Since(began).Seconds(), peakMemory()
	return r, nil
}

// trainableByName are the parameters that are perturbed, in the order of their numbers.
func trainableByName(c *checkpoint.Checkpoint) []checkpoint.Tensor {
	ts := slices.DeleteFunc(slices.Clone(c.Parameters), func(t checkpoint.Tensor) bool { return !checkpoint.Trainable(t.Name) })
	slices.SortFunc(ts, func(a, b checkpoint.Tensor) int { return strings.Compare(a.Name, b.Name) })
	return ts
}

// measure compares each perturbed network with the network as it is.
func (p *perturbation) measure(ctx context.Context, r *stabilityEntry) error {
	p.bar = p.app.progress(p.title+": perturbed", (1+p.flags.draws*len(p.flags.sds))*(len(p.changed.IDs)+len(p.judged.IDs)))
	defer p.bar.Done()
	before, accuracy, err := p.pass(ctx, "as it is")
	if err != nil {
		return err
	}
	if sick := stability.Change(before, before, p.set.Classes); sick != 0 || r.GradientNorm-r.GradientNorm != 0 {
		return fmt.Errorf("the network's logits are not finite: its parameters are not a trained network's")
	}
	r.Accuracy = accuracy
	changes, accuracies := make([][]float64, len(p.flags.sds)), make([][]float64, len(p.flags.sds))
	for draw := range p.flags.draws {
		directions := p.directions(uint32(draw))
		for i, sd := range p.flags.sds {
			if err := p.load(sd, directions, p.program.Load); err != nil {
				return err
			}
			after, accuracy, err := p.pass(ctx, fmt.Sprintf("draw %d, sd %v", draw+1, sd))
			if err != nil {
				return err
			}
			changes[i] = append(changes[i], stability.Change(before, after, p.set.Classes))
			accuracies[i] = append(accuracies[i], accuracy)
		}
	}
	for i, sd := range p.flags.sds {
		r.Scales = append(r.Scales, stability.NewScale(sd, r.GradientNorm, changes[i], accuracies[i]))
	}
	return nil
}

// directions are those of one draw, by parameter.
func (p *perturbation) directions(draw uint32) [][]float64 {
	out := make([][]float64, len(p.parameters))
	for i, t := range p.parameters {
		out[i] = make([]float64, len(t.Data))
		stability.Direction(p.flags.seed, draw, uint32(i), out[i])
	}
	return out
}

// load sets the parameters to those of the network, perturbed; BatchNorm's running statistics are left as they are.
func (p *perturbation) load(sd float64, directions [][]float64, set func(name string, v []float32) error) error {
	for i, t := range p.parameters {
		v := make([]float32, len(t.Data))
		stability.Perturb(t.Data, sd, directions[i], v)
		if err := set(t.Name, v); err != nil {
			return err
		}
	}
	return nil
}

// pass puts the images through the network that is loaded: the logits of those to be compared, and the accuracy on the others.
func (p *perturbation) pass(ctx context.Context, note string) (logits []float32, accuracy float64, err error) {
	if logits, err = p.logitsOf(ctx, p.changed, note); err != nil {
		return nil, 0, err
	}
	judged, err := p.logitsOf(ctx, p.judged, note)
	if err != nil {
		return nil, 0, err
	}
	correct := 0
	for i, id := range p.judged.IDs {
		if evaluation.Judge(judged[i*p.set.Classes:(i+1)*p.set.Classes], int(p.judged.Labels[id])).Correct {
			correct++
		}
	}
	return logits, float64(correct) / float64(len(p.judged.IDs)), nil
}

func (p *perturbation) logitsOf(ctx context.Context, b evaluation.Batch, note string) (out []float32, err error) {
	for ids := range slices.Chunk(b.IDs, stride) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		piece := b
		piece.IDs = ids
		logits, err := evaluation.Logits(p.program, piece)
		if err != nil {
			return nil, err
		}
		out = append(out, logits...)
		p.done += len(ids)
		p.bar.Set(p.done, note)
	}
	return out, nil
}

// print shows the result to people.
func (r *perturbResult) print(w io.Writer) {
	fmt.Fprintf(w, "%s (%s) on %s: gradient norm %.6g over %d training images, accuracy %.2f %% on %d of the %s images; %d perturbations of each size\n",
		r.Name, r.Model, r.Dataset, r.GradientNorm, r.Images, 100*r.Accuracy, r.AccuracyImages, r.Split, r.Draws)
	var rows [][]string
	for _, s := range r.Scales {
		row := []string{fmt.Sprintf("%g", s.SD), fmt.Sprintf("not finite in %d", s.NotFinite), "", fmt.Sprintf("%.4g", s.FirstOrder), ""}
		if s.ChangeMean != nil {
			row[1], row[2] = fmt.Sprintf("%.4g", *s.ChangeMean), fmt.Sprintf("%.4g to %.4g", *s.ChangeLow, *s.ChangeHigh)
			row[4] = fmt.Sprintf("%.3f", *s.ChangeMean/s.FirstOrder)
		}
		rows = append(rows, append(row, fmt.Sprintf("%.2f %%", 100*s.AccuracyMean), fmt.Sprintf("%.2f to %.2f", 100*s.AccuracyLow, 100*s.AccuracyHigh)))
	}
	table(w, []string{"sd", "squared change of the logits", "95 %", "first order", "ratio", "accuracy", "95 %"}, rows)
	fmt.Fprintf(w, "%.1f s, %s, parameters sha256:%s\n", r.Seconds, kernelsOf(r.KernelSet, r.Arithmetic), r.SHA256)
}
