package main

import (
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/dither-ml/dither/noise"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// runFlags is what the command line says about a run; the flags that were not given leave a spec file's word, or the default.
type runFlags struct {
	dataset, data, model, shortcut, teacher, teacherView string
	noise, loss, batchnorm, augment, init, out           string
	temperature, lr, momentum, weightDecay, validation   float64
	milestones                                           string
	shards, batch, epochs, iterations, warmup            uint32
	trainLimit, testLimit, evalEvery, checkpointEvery    uint32
	stopAfter, gradientNorm, threads, labelDepth         uint32
	seed                                                 uint64
	kernels, precision                                   string
	shareGPU                                             bool
	gpus                                                 uint32 // of each trainer
	coordinates                                          bool   // computes nothing itself
	cacheMiB                                             uint32
	cacheFile                                            string // of `dither run`, which starts the teacher-logit service
	trainers                                             string
	crew                                                 crewSize // what trainers says, once it is checked
	silence, wait                                        time.Duration
	set                                                  *pflag.FlagSet
	complete                                             bool            // the spec file is of a run that was made, so that what is zero or missing there was meant
	optimizer                                            map[string]bool // which of the optimizer's numbers a spec file has, by flag
}

// define adds the flags of a run's spec and options to a command.
func (f *runFlags) define(c *cobra.Command) {
	s := c.Flags()
	f.set = s
	s.StringVar(&f.dataset, "dataset", "digits", "digits, cifar10, cifar100 or svhn")
	s.StringVar(&f.data, "data", "data", "folder that holds cifar-10-batches-bin, cifar-100-binary and svhn (the digits are built in)")
	s.StringVar(&f.model, "model", "resnet20", "the network: resnet8, resnet14, resnet20, ... (6n+2), or mlp")
	s.StringVar(&f.shortcut, "shortcut", "A", "a ResNet's shortcut where the shape changes: A (pad) or B (projection)")
	s.StringVar(&f.teacher, "teacher", "train", "a checkpoint FILE (dither's, PyTorch's .th or .pt, .safetensors of parameters or logits), train or none")
	s.StringVar(&f.teacherView, "teacher-view", "augmented", "what the teacher sees: the student's augmented view, or the original image")
	s.StringVar(&f.noise, "noise", "gaussian:sigma2=1", "none, gaussian:sigma2=V, symmetric:p=V or service:HOST:PORT?k=v")
	s.StringVar(&f.loss, "loss", "quadratic", "quadratic, kd, ce, or a weighted sum such as kd=0.9,ce=0.1")
	s.Float64Var(&f.temperature, "temperature", 4, "T of kd")
	s.StringVar(&f.trainers, "trainers", "1", "N: begin with N trainers, go on with as few as 1 and as many as there are shards; MIN:MAX: never with fewer or more (dither run starts MAX)")
	s.Uint32Var(&f.shards, "shards", 0, "logical slices of every batch; 0: as many as trainers, or as they have GPUs; part of the spec")
	s.Uint32Var(&f.batch, "batch", 64, "samples of an iteration, over all shards")
	s.Uint32Var(&f.epochs, "epochs", 200, "length of the run in epochs")
	s.Uint32Var(&f.iterations, "iterations", 0, "length of the run in iterations, in place of --epochs")
	s.Float64Var(&f.lr, "lr", 0.1, "learning rate")
	s.StringVar(&f.milestones, "milestones", "1/2,3/4", "where the learning rate is divided by 10: fractions of the run, or iterations; none")
	s.Uint32Var(&f.warmup, "warmup", 0, "iterations of linear warm-up; default: an epoch for the quadratic loss from a random start, else none")
	s.Float64Var(&f.momentum, "momentum", 0.9, "mu of SGD")
	s.Float64Var(&f.weightDecay, "weight-decay", 1e-4, "lambda of SGD, on every trainable parameter")
	s.StringVar(&f.init, "init", "random", "where the student starts: random, teacher or a checkpoint FILE")
	s.StringVar(&f.batchnorm, "batchnorm", "shard", "BatchNorm's statistics are over each shard, or over the whole batch (global)")
	s.StringVar(&f.augment, "augment", "standard", "standard (crop with 4 pixels of padding; flip where it makes sense) or none")
	s.Float64Var(&f.validation, "validation", 0, "fraction of the training images held out, chosen by seed")
	s.Uint32Var(&f.trainLimit, "train-limit", 0, "use the first N training images; 0: all")
	s.Uint32Var(&f.testLimit, "test-limit", 0, "use the first N test images; 0: all")
	s.Uint64Var(&f.seed, "seed", 1, "every draw is a function of it")
	s.Uint32Var(&f.evalEvery, "eval-every", 0, "evaluate every E epochs; 0: at the end")
	s.Uint32Var(&f.checkpointEvery, "checkpoint-every", 0, "write a checkpoint every K iterations; 0: at the end")
	s.Uint32Var(&f.stopAfter, "stop-after", 0, "stop, with a checkpoint, after iteration K; no part of the spec")
	s.Uint32Var(&f.gradientNorm, "gradient-norm", 64, "training images for the gradient norm at the end; 0: none")
	s.Uint32Var(&f.labelDepth, "label-depth", 4, "iterations for which noisy soft labels are asked ahead of time")
	s.Uint32Var(&f.cacheMiB, "teacher-cache", 256, "MiB of logits that the teacher-logit service may cache")
	s.Uint32Var(&f.threads, "threads", 0, "threads of a trainer; 0: the processors, divided among the trainers here")
	s.DurationVar(&f.silence, "silence", 2*time.Second, "after which a trainer that says nothing is taken for lost")
	s.DurationVar(&f.wait, "wait", 0, "how long to wait for trainers or a teacher that are missing before giving up; 0: for ever")
	s.StringVar(&f.kernels, "kernels", "auto", kernelsHelp)
	s.StringVar(&f.precision, "precision", ditherv1.FP32, precisionHelp+"; part of the spec, by its arithmetic")
	s.BoolVar(&f.shareGPU, "share-gpu", false, shareGPUHelp)
	s.Uint32Var(&f.gpus, "gpus", 1, gpusHelp)
	s.StringVar(&f.out, "out", "", "the run's folder; default runs/DATASET-MODEL-TIME; must not exist")
}

// readRunFile reads spec.yaml, or a part of one, refusing keys that it does not know.
func readRunFile(path string) (*ditherv1.RunFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, badInputf("spec file: %w", err)
	}
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, badInputf("spec file %s is not YAML: %s", path, strings.SplitN(err.Error(), "\n", 2)[0])
	}
	file := &ditherv1.RunFile{}
	if err := protojson.Unmarshal(asJSON, file); err != nil {
		return nil, badInputf("spec file %s: %s; docs/command-line.md lists the keys", path, jsonReason(err))
	}
	return file, nil
}

// jsonReason is protojson's complaint without its own prefix and position in text that the user never saw.
func jsonReason(err error) string {
	s := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	if i := strings.Index(s, "): "); i >= 0 {
		s = s[i+3:]
	}
	return strings.TrimPrefix(s, "proto: ")
}

// runFileText is a spec.yaml.
func runFileText(f *ditherv1.RunFile) ([]byte, error) {
	asJSON, err := protojson.MarshalOptions{UseProtoNames: true, Multiline: true}.Marshal(f)
	if err != nil {
		return nil, err
	}
	text, err := yaml.JSONToYAML(asJSON)
	if err != nil {
		return nil, err
	}
	return append([]byte("# The spec fixes the parameters that the run ends with; the options do not. `dither run "+"spec.yaml --out NEW` repeats it.\n"), text...), nil
}

// given says whether a flag was given, or there is no word of a spec file that the default would hide.
func (f *runFlags) given(name string, fromFile bool) bool { return f.set.Changed(name) || !fromFile }

// meant says whether a spec file settles one of the optimizer's numbers, be it as zero.
func (f *runFlags) meant(name string) bool { return f.complete || f.optimizer[name] }

// optimizerKeys are the optimizer's numbers in a spec file that was read before, by flag.
func optimizerKeys(path string) (map[string]bool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, badInputf("spec file: %w", err)
	}
	var file struct {
		Spec struct {
			Optimizer map[string]any `yaml:"optimizer"`
		} `yaml:"spec"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, badInputf("spec file %s: %w", path, err)
	}
	keys := map[string]bool{}
	for k := range file.Spec.Optimizer {
		// Both of protobuf's spellings are read: weight_decay and weightDecay.
		keys[strings.NewReplacer("_", "-", "weightDecay", "weight-decay").Replace(k)] = true
	}
	return keys, nil
}

// apply lays the flags over a spec file's word. What needs the data or the teacher (hashes, schedule) is settled by prepare.
func (f *runFlags) apply(file *ditherv1.RunFile) error {
	if file.Spec == nil {
		file.Spec = &ditherv1.RunSpec{}
	}
	if file.Options == nil {
		file.Options = &ditherv1.RunOptions{}
	}
	s := file.Spec
	if s.Dataset == nil {
		s.Dataset = &ditherv1.DatasetSpec{}
	}
	if s.Model == nil {
		s.Model = &ditherv1.ModelSpec{}
	}
	if s.Optimizer == nil {
		s.Optimizer = &ditherv1.OptimizerSpec{}
	}
	str := func(name string, dst *string, v string) {
		if f.given(name, *dst != "") {
			*dst = v
		}
	}
	num := func(name string, dst *uint32, v uint32) {
		if f.given(name, *dst != 0) {
			*dst = v
		}
	}
	real := func(name string, dst *float64, v float64, fromFile bool) {
		if f.given(name, fromFile) {
			*dst = v
		}
	}
	f.complete = s.Dataset.TrainSha256 != ""
	str("dataset", &s.Dataset.Name, f.dataset)
	num("train-limit", &s.Dataset.TrainLimit, f.trainLimit)
	num("test-limit", &s.Dataset.TestLimit, f.testLimit)
	real("validation", &s.Dataset.Validation, f.validation, s.Dataset.Validation != 0)
	str("model", &s.Model.Name, f.model)
	if strings.HasPrefix(s.Model.Name, "resnet") {
		str("shortcut", &s.Model.Shortcut, f.shortcut)
	}
	real("lr", &s.Optimizer.Lr, f.lr, f.meant("lr"))
	real("momentum", &s.Optimizer.Momentum, f.momentum, f.meant("momentum"))
	real("weight-decay", &s.Optimizer.WeightDecay, f.weightDecay, f.meant("weight-decay"))
	num("batch", &s.Batch, f.batch)
	shards := f.shards
	if shards == 0 {
		shards = f.defaultShards()
	}
	num("shards", &s.Shards, shards)
	str("batchnorm", &s.Batchnorm, f.batchnorm)
	str("augment", &s.Augment, f.augment)
	if f.given("seed", f.complete || s.Seed != 0) {
		s.Seed = f.seed
	}
	f.applyOptions(file.Options, f.complete)
	file.Options.Command = append([]string{"dither"}, os.Args[1:]...)
	if !f.set.Changed("shards") {
		// Unsaid, it follows --trainers and --gpus, and whoever repeats the run with another number would have another run.
		file.Options.Command = append(file.Options.Command, flag("shards", file.Spec.Shards))
	}
	return f.applyLoss(file)
}

// applyOptions lays the flags over options, which change no parameter and so may be others when a run goes on; complete says that zeros were meant.
func (f *runFlags) applyOptions(o *ditherv1.RunOptions, complete bool) {
	num := func(name string, dst *uint32, v uint32) {
		if f.given(name, complete || *dst != 0) {
			*dst = v
		}
	}
	num("eval-every", &o.EvalEvery, f.evalEvery)
	num("checkpoint-every", &o.CheckpointEvery, f.checkpointEvery)
	o.StopAfter = f.stopAfter
	num("gradient-norm", &o.GradientNormImages, f.gradientNorm)
	num("label-depth", &o.LabelDepth, f.labelDepth)
	if f.given("teacher-cache", complete || o.TeacherCacheBytes != 0) {
		o.TeacherCacheBytes = uint64(f.cacheMiB) << 20
	}
}

// specFlags are the flags that settle what a run that exists has settled already.
var specFlags = []string{"dataset", "train-limit", "test-limit", "validation", "model", "shortcut", "teacher", "teacher-view", "noise", "loss", "temperature", "shards", "batch",
	"epochs", "iterations", "lr", "milestones", "warmup", "momentum", "weight-decay", "init", "batchnorm", "augment", "seed", "precision", "out"}

// refuseSpec refuses the flags of a spec for a run that has one.
func (f *runFlags) refuseSpec() error {
	for _, name := range specFlags {
		if f.set.Changed(name) {
			return badInputf("--%s belongs to the spec, and a run goes on with the spec that it has; leave it out, or start a new run", name)
		}
	}
	return nil
}

// applyLoss settles the loss, and with it whether there is a teacher and noise: cross-entropy alone has neither unless they are asked for.
func (f *runFlags) applyLoss(file *ditherv1.RunFile) error {
	s := file.Spec
	if f.given("loss", s.Loss != nil) {
		text := f.loss
		if f.teacher == "none" && !f.set.Changed("loss") {
			text = "ce"
		}
		loss, err := parseLoss(text)
		if err != nil {
			return err
		}
		s.Loss = loss
	}
	if s.Loss.Kd > 0 && f.given("temperature", s.Loss.Temperature != 0) {
		s.Loss.Temperature = f.temperature
	}
	alone := s.Loss.Quadratic == 0 && s.Loss.Kd == 0
	if alone && !f.set.Changed("teacher") {
		f.teacher = "none"
	}
	if f.given("noise", f.complete || s.Noise != nil) && (f.teacher != "none" || f.set.Changed("noise")) {
		spec, address, err := noise.Parse(f.noise)
		if err != nil {
			return badInput(err)
		}
		s.Noise, file.Options.NoiseAddress = spec, address
	}
	if f.teacher == "none" && !f.set.Changed("noise") {
		s.Noise = nil
	}
	return nil
}

// parseLoss reads "quadratic", "kd", "ce" or "kd=0.9,ce=0.1".
func parseLoss(text string) (*ditherv1.LossSpec, error) {
	l := &ditherv1.LossSpec{}
	for part := range strings.SplitSeq(text, ",") {
		name, value, weighted := strings.Cut(strings.TrimSpace(part), "=")
		weight := 1.0
		if weighted {
			var err error
			if weight, err = strconv.ParseFloat(value, 64); err != nil {
				return nil, badInputf("--loss %s: %q is no number; write for example kd=0.9,ce=0.1", text, value)
			}
		}
		into, known := map[string]*float64{"quadratic": &l.Quadratic, "kd": &l.Kd, "ce": &l.Ce}[name]
		if !known {
			return nil, badInputf("--loss %s: there is no loss %q; it is quadratic, kd, ce, or a sum such as kd=0.9,ce=0.1", text, name)
		}
		if *into != 0 {
			return nil, badInputf("--loss %s: %s is there twice", text, name)
		}
		*into = weight
	}
	return l, nil
}

// applySchedule settles the schedule in iterations, given how many make an epoch.
func (f *runFlags) applySchedule(s *ditherv1.RunSpec, perEpoch int) error {
	o := s.Optimizer
	if f.set.Changed("epochs") && f.set.Changed("iterations") {
		return badInputf("--epochs and --iterations both give the length of the run; say one of them")
	}
	if f.set.Changed("iterations") {
		s.Iterations = f.iterations
	} else if f.given("epochs", s.Iterations != 0) {
		k := uint64(f.epochs) * uint64(perEpoch)
		if k > math.MaxUint32-1 {
			return badInputf("--epochs %d: %d iterations are more than can be counted in 32 bits", f.epochs, k)
		}
		s.Iterations = uint32(k)
	}
	if f.given("milestones", f.meant("milestones")) {
		m, err := parseMilestones(f.milestones, s.Iterations)
		if err != nil {
			return err
		}
		o.Milestones, o.Gamma = m, 0.1
	}
	if len(o.Milestones) > 0 && o.Gamma == 0 {
		o.Gamma = 0.1
	}
	if f.set.Changed("warmup") {
		o.Warmup = f.warmup
	} else if !f.meant("warmup") && s.GetLoss().GetQuadratic() > 0 && s.GetInit().GetKind() == "random" {
		o.Warmup = uint32(min(perEpoch, int(s.Iterations)))
	}
	return nil
}

// parseMilestones reads fractions of the run ("1/2", "0.75") or iterations ("32000"), separated by commas.
func parseMilestones(text string, iterations uint32) ([]uint32, error) {
	var out []uint32
	if text == "none" || text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if k, err := strconv.ParseUint(part, 10, 32); err == nil {
			out = append(out, uint32(k))
			continue
		}
		num, den, isFraction := strings.Cut(part, "/")
		v, err := strconv.ParseFloat(num, 64)
		if isFraction && err == nil {
			var d float64
			if d, err = strconv.ParseFloat(den, 64); err == nil {
				v /= d
			}
		}
		if err != nil || !(v > 0 && v < 1) {
			return nil, badInputf("--milestones %s: %q is neither an iteration nor a fraction of the run between 0 and 1", text, part)
		}
		out = append(out, uint32(v*float64(iterations)))
	}
	return out, nil
}
