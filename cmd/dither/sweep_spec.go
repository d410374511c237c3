package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"os"

	"github.com/dither-ml/dither/coordinator/study"
	"github.com/dither-ml/dither/noise"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// fromFlags makes the study that the flags describe.
func (s *sweep) fromFlags() error {
	f := s.flags
	spec := &ditherv1.StudySpec{Design: f.design, Validation: f.validation, GradientNormImages: f.gradientNorm, EvalEvery: f.run.evalEvery}
	batches, err := parseBatches(f.batches)
	if err != nil {
		return err
	}
	if spec.Seeds, err = parseSeeds(f.seeds); err != nil {
		return err
	}
	spec.Schedule = &ditherv1.Schedule{Epochs: f.epochs, Warmup: f.warmup}
	if spec.Schedule.Milestones, err = parseFractions(f.milestones); err != nil {
		return err
	}
	f.run.noise, f.run.batch, f.run.epochs = noise.None, batches[0], 1
	d, err := newSpec(f.run, "")
	if err != nil {
		return err
	}
	s.data = d.data
	spec.TrainImages = uint32(s.data.Train.N())
	if err := s.baseOf(spec, d); err != nil {
		return err
	}
	if spec.Arms, err = f.arms(spec.Base, batches); err != nil {
		return err
	}
	if !f.set.Changed("warmup") && spec.Base.GetLoss().GetQuadratic() > 0 && spec.Base.GetInit().GetKind() == "random" {
		spec.Schedule.Warmup = min(1, f.epochs)
	}
	s.spec = spec
	if err := ditherv1.ValidateStudy(spec); err != nil {
		return badInput(err)
	}
	return nil
}

// baseOf settles what all runs share: the draft of a run, its teacher and its start, without what a study settles.
func (s *sweep) baseOf(spec *ditherv1.StudySpec, d *draft) (err error) {
	f, base := s.flags, d.file.Spec
	switch path := f.run.teacher; {
	case path == "none":
		base.Teacher = nil
	case path == "train":
		if spec.TeacherEpochs = f.teacherEpochs; !f.set.Changed("teacher-epochs") {
			spec.TeacherEpochs = f.epochs
		}
		base.Teacher = &ditherv1.TeacherSpec{Model: proto.CloneOf(base.Model), Arithmetic: base.Arithmetic, View: f.run.teacherView}
	default:
		if s.teacher, err = d.teacherOf(path); err != nil {
			return err
		}
	}
	if base.Init.GetKind() == "file" {
		s.init = f.run.init
	}
	if _, err = d.start(s.init); err != nil {
		return err
	}
	base.Noise, base.Seed, base.Iterations, base.Optimizer.Milestones, base.Optimizer.Warmup = nil, 0, 0, nil, 0
	base.Optimizer.Gamma = 0.1
	spec.Base = base
	return nil
}

// arms are the settings that a design compares.
func (f *sweepFlags) arms(base *ditherv1.RunSpec, batches []uint32) ([]*ditherv1.Arm, error) {
	noises, err := f.scales()
	if err != nil {
		return nil, err
	}
	batch, lr := batches[0], base.GetOptimizer().GetLr()
	factors, err := parsePositive("factors", f.factors)
	if err != nil {
		return nil, err
	}
	only := func(flags ...string) error {
		for _, name := range flags {
			if f.set.Changed(name) {
				return badInputf("--%s has no meaning for --design %s; leave it out", name, f.design)
			}
		}
		return nil
	}
	var arms []*ditherv1.Arm
	switch f.design {
	case ditherv1.DesignScales:
		if err = only("factors", "lr-rule"); err == nil && len(batches) > 1 {
			err = badInputf("--batch %s: the design scales has one batch size; say --design batches", f.batches)
		}
		arms = study.Scales(noises, batch, lr)
	case ditherv1.DesignBatches:
		if err = only("factors"); err == nil {
			arms, err = study.Batches(noises, batches, batch, lr, f.lrRule)
		}
	case ditherv1.DesignEtaOverB:
		if err = only("lr-rule"); err != nil {
			break
		}
		if len(batches) == 1 {
			if batches, err = multiplied(batch, factors); err != nil {
				break
			}
		} else if f.set.Changed("factors") {
			err = badInputf("--factors %s and --batch %s both say which batch sizes there are; give one --batch, or no --factors", f.factors, f.batches)
			break
		}
		arms, err = study.EtaOverB(noises, batches, batch, lr)
	case ditherv1.DesignLabelNoise:
		noises = noises[1:]
		if err = only("lr-rule"); err == nil && (len(noises) != 1 || len(batches) != 1) {
			err = badInputf("the design label-noise varies eta at one batch size and one sigma2, and eta sigma2 stays what it is; say --batch 64 --noise gaussian:sigma2=1")
		}
		if err == nil {
			arms, err = study.LabelNoise(noises[0], factors, batch, lr)
		}
	default:
		err = badInputf("--design %s: it is scales, batches, eta-over-b or label-noise", f.design)
	}
	var coded *exitError
	if err != nil && !errors.As(err, &coded) {
		err = badInput(err)
	}
	return arms, err
}

// scales are noiseless distillation and the noises that were asked for, or those of the paper.
func (f *sweepFlags) scales() ([]*ditherv1.NoiseSpec, error) {
	if len(f.noises) == 0 {
		switch f.design {
		case ditherv1.DesignScales:
			return study.DefaultScales(), nil
		default:
			return []*ditherv1.NoiseSpec{study.NoNoise(), study.Gaussian(1)}, nil
		}
	}
	out := []*ditherv1.NoiseSpec{study.NoNoise()}
	for _, text := range f.noises {
		more, err := parseScales(text)
		if err != nil {
			return nil, err
		}
		for _, n := range more {
			for _, other := range out {
				if proto.Equal(n, other) {
					return nil, badInputf("--noise %s: %s is there twice", text, noise.Format(n, ""))
				}
			}
			out = append(out, n)
		}
	}
	return out, nil
}

// multiplied are batch sizes that a design's factors give.
func multiplied(batch uint32, factors []float64) ([]uint32, error) {
	var out []uint32
	for _, c := range factors {
		b := float64(batch) * c
		if b < 1 || b != float64(uint32(b)) {
			return nil, badInputf("--factors: %v times a batch of %d is %v, no whole number of samples", c, batch, b)
		}
		out = append(out, uint32(b))
	}
	return out, nil
}

// fromFile takes the study of a file: one that another study's folder has, or one that was written by hand, which may leave out what the data and the teacher settle.
func (s *sweep) fromFile(path string) error {
	if err := s.flags.refuseStudy(path); err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return badInputf("the study: %w", err)
	}
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return badInputf("the study %s is not YAML: %s", path, strings.SplitN(err.Error(), "\n", 2)[0])
	}
	spec := &ditherv1.StudySpec{}
	if err := protojson.Unmarshal(asJSON, spec); err != nil {
		return badInputf("the study %s: %s; docs/command-line.md lists the keys", path, jsonReason(err))
	}
	s.spec = spec
	if err := s.complete(filepath.Dir(path), spec); err != nil {
		return err
	}
	spec.TrainImages = uint32(s.data.Train.N())
	return nil
}

// reopen takes the study that a folder holds.
func (s *sweep) reopen(dir string) (err error) {
	if err := s.flags.refuseStudy(dir); err != nil {
		return err
	}
	if s.flags.set.Changed("teacher") {
		return badInputf("--teacher belongs to the study, and %s has it; leave it out", dir)
	}
	s.dir = dir
	if s.spec, err = study.Load(dir); err != nil {
		return badInput(err)
	}
	return s.complete(dir, s.spec)
}

// complete opens the data of a study that is not of the flags, and holds them, the teacher and the arithmetic against what it says.
func (s *sweep) complete(beside string, spec *ditherv1.StudySpec) error {
	f, base := s.flags.run, spec.GetBase()
	if base.GetDataset().GetName() == "" {
		return badInputf("the study has no base.dataset.name; say which data set it is about")
	}
	for i, arm := range spec.GetArms() {
		if arm.GetNoise().GetKind() == noise.Service {
			return badInputf("arms[%d]: the noise is a service, whose address a study does not keep; train with it run by run, with `dither run`", i)
		}
	}
	if err := f.readTrainers(); err != nil {
		return err
	}
	set, err := openData(base.Dataset.Name, f.data, base.Dataset.TrainLimit, base.Dataset.TestLimit)
	if err != nil {
		return err
	}
	s.data = set
	was := proto.CloneOf(base.Dataset)
	describeData(base.Dataset, set)
	if was.TrainSha256 != "" && (was.TrainSha256 != base.Dataset.TrainSha256 || was.TestSha256 != base.Dataset.TestSha256) {
		return badInputf("the %s images in %s are not those that the study was made with; give --data the same files", base.Dataset.Name, f.data)
	}
	f.precision = ditherv1.Precision(base.Arithmetic)
	if err := checkPrecision(f.kernels, f.precision); err != nil {
		return badInput(fmt.Errorf("the study is in arithmetic %s: %w", base.Arithmetic, err))
	}
	kernels, err := openKernels(f.kernels, f.precision, 1)
	if err != nil {
		return err
	}
	defer kernels.Close()
	if base.Arithmetic == "" {
		base.Arithmetic = kernels.Arithmetic()
	}
	if base.Arithmetic != kernels.Arithmetic() {
		return badInputf("the study is in arithmetic %s and this dither computes in %s: its runs would have other bits; %s, or begin another study",
			base.Arithmetic, kernels.Arithmetic(), goOnWith(kernels.Arithmetic(), base.Arithmetic))
	}
	if base.Shards == 0 {
		base.Shards = f.defaultShards()
	}
	if err := f.checkTrainers(base.Shards); err != nil {
		return err
	}
	if err := f.checkGPUs(); err != nil {
		return err
	}
	return s.besides(beside, base)
}

// besides finds the teacher and the start of a study that names them by hash.
func (s *sweep) besides(beside string, base *ditherv1.RunSpec) error {
	d := &draft{flags: s.flags.run, file: &ditherv1.RunFile{Spec: base}, data: s.data}
	if base.GetTeacher() != nil && (s.spec.TeacherEpochs == 0 || base.Teacher.Sha256 != "") {
		want, path := base.Teacher.Sha256, filepath.Join(beside, teacherName)
		if s.flags.set.Changed("teacher") {
			path = s.flags.run.teacher
		}
		var err error
		if s.teacher, err = d.teacherOf(path); err != nil {
			return err
		}
		if want != "" && base.Teacher.Sha256 != want {
			return badInputf("%s is another teacher than the study's: its sha256 is %.12s and the study says %.12s; give --teacher the right file", path, base.Teacher.Sha256, want)
		}
	}
	if base.GetInit().GetKind() == "file" {
		s.init = filepath.Join(beside, initName)
		want := base.Init.Sha256
		if _, err := d.start(s.init); err != nil {
			return err
		}
		if want != "" && base.Init.Sha256 != want {
			return badInputf("%s is another start than the study's: its sha256 is %.12s and the study says %.12s", s.init, base.Init.Sha256, want)
		}
	}
	if err := ditherv1.ValidateStudy(s.spec); err != nil {
		return badInput(err)
	}
	return nil
}

// withTeacher is a study whose teacher is known.
func withTeacher(s *ditherv1.StudySpec, sha256 string) *ditherv1.StudySpec {
	s = proto.CloneOf(s)
	s.Base.Teacher.Sha256 = sha256
	if s.Base.GetInit().GetKind() == "teacher" {
		s.Base.Init.Sha256 = sha256
	}
	return s
}
