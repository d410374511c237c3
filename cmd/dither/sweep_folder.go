package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/dither-ml/dither/coordinator/runlog"
	"github.com/dither-ml/dither/coordinator/study"
	"github.com/dither-ml/dither/noise/teacher"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer"
	"github.com/dither-ml/dither/trainer/checkpoint"
)

const (
	// Of a run that has so many iterations or fewer, nothing is kept before its end: it is done again as soon.
	fewIterations = 100
	// A run of more keeps so many checkpoints on its way (of which the newest stay), from which it goes on if it is killed.
	checkpointsInARun = 10
)

// found makes the study's folder and settles its teacher. One process at a time does that; the parts of a study that come later find it done.
func (s *sweep) found(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Join(s.dir, study.RunsDir), 0o755); err != nil {
		return badInputf("the study's folder: %w", err)
	}
	path := filepath.Join(s.dir, lockName)
	lock, err := waitLock(ctx, path)
	for errors.Is(err, errBusy) {
		fmt.Fprintf(s.app.stderr, "dither: waiting for another process, which settles the teacher of %s\n", s.dir)
		lock, err = waitLock(ctx, path)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := s.compare(); err != nil { // what another made meanwhile
		return err
	}
	if err := s.open(); err != nil {
		return err
	}
	return s.settleTeacher(ctx)
}

// open writes what the study is, its teacher and its start, each whole or not at all. What is there already stays.
func (s *sweep) open() error {
	if err := s.placeTeacher(); err != nil {
		return err
	}
	if path := filepath.Join(s.dir, initName); s.init != "" && s.init != path {
		start, err := loadNetwork(s.init, s.data)
		if err == nil {
			err = aside(path, func(part string) error { return checkpoint.Save(part, start) })
		}
		if err != nil {
			return err
		}
	}
	if there, err := study.Load(s.dir); err == nil && ditherv1.StudyHash(there) == ditherv1.StudyHash(s.spec) {
		return nil
	}
	return study.Save(s.dir, s.spec)
}

// placeTeacher puts the teacher into the study's folder, unless it came from there.
func (s *sweep) placeTeacher() error {
	path := filepath.Join(s.dir, teacherName)
	switch t := s.teacher.(type) {
	case *checkpoint.Checkpoint:
		if there, err := checkpoint.Load(path); err == nil && there.Hash() == t.Hash() {
			return nil
		}
		return aside(path, func(part string) error { return checkpoint.Save(part, t) })
	case logitsFile:
		if t.path == path {
			return nil
		}
		return aside(path, func(part string) error { return copyFile(part, t.path) })
	}
	return nil
}

// aside lets write make a file under another name, and gives it its own once it is whole.
func aside(path string, write func(part string) error) error {
	part := path + ".part"
	if err := write(part); err != nil {
		os.Remove(part)
		return err
	}
	return os.Rename(part, path)
}

// prepare makes the folder of a run ready to be gone on with, or to begin; the caller has the lock on it. resumed says which.
func (s *sweep) prepare(dir string, spec *ditherv1.RunSpec, options *ditherv1.RunOptions) (f *folder, resumed bool, err error) {
	f = &folder{dir: dir, file: &ditherv1.RunFile{Spec: spec, Options: options}, data: s.data}
	for {
		newest, err := lastCheckpoint(dir)
		if err != nil {
			break
		}
		if _, err := checkpoint.Load(newest); err == nil {
			resumed = true
			break
		}
		if err := os.Remove(newest); err != nil { // cut short, by a disk that was lost with its machine: an earlier one will do
			return nil, false, err
		}
	}
	if file, err := readRunFile(f.path(specName)); resumed && err == nil && ditherv1.Hash(file.Spec) == ditherv1.Hash(spec) {
		return f, true, nil
	}
	// What was begun and has no checkpoint begins again, from an empty folder.
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, false, err
	}
	for _, e := range entries {
		if e.Name() == lockName {
			continue
		}
		if err := os.RemoveAll(f.path(e.Name())); err != nil {
			return nil, false, err
		}
	}
	for kind, path := range f.files() {
		from := filepath.Join(s.dir, map[ditherv1.FileKind]string{ditherv1.FileKind_FILE_KIND_TEACHER: teacherName, ditherv1.FileKind_FILE_KIND_INIT: initName}[kind])
		if err := linkOrCopy(path, from); err != nil {
			return nil, false, err
		}
	}
	text, err := runFileText(f.file)
	if err != nil {
		return nil, false, err
	}
	return f, false, replaceFile(f.path(specName), text)
}

// linkOrCopy gives a file a second name, or a copy where the disk has no such thing: a study's runs share one teacher.
func linkOrCopy(to, from string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	return copyFile(to, from)
}

// options are those of a run of the study.
func (s *sweep) options(iterations uint32, gradientNorm int, command []string) *ditherv1.RunOptions {
	f := s.flags.run
	o := &ditherv1.RunOptions{EvalEvery: s.spec.EvalEvery, CheckpointEvery: f.checkpointEvery, GradientNormImages: uint32(gradientNorm), TeacherCacheBytes: uint64(f.cacheMiB) << 20,
		LabelDepth: f.labelDepth, Command: command}
	if o.CheckpointEvery == 0 && iterations > fewIterations {
		o.CheckpointEvery = (iterations + checkpointsInARun - 1) / checkpointsInARun
	}
	return o
}

// settleTeacher trains the study's teacher where it has to, and measures it, once for all runs.
func (s *sweep) settleTeacher(ctx context.Context) (err error) {
	if s.spec.GetBase().GetTeacher() == nil {
		return nil
	}
	if s.untrained() {
		if err := s.trainTeacher(ctx); err != nil {
			return err
		}
	}
	if err = s.plan(); err != nil { // by now the teacher's hash is known
		return err
	}
	if path := s.cacheFile(); path != "" && teacher.CheckCacheFile(path, s.runs[0].Spec, s.data) != nil {
		// It is the study's own and holds nothing that cannot be computed again.
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	if s.measured, err = study.LoadTeacher(s.dir); err != nil {
		return err
	}
	if s.measured != nil && s.measured.SHA256 == s.spec.Base.Teacher.Sha256 || s.spec.Base.Teacher.GetModel() == nil {
		return nil
	}
	return s.measureTeacher(ctx)
}

// trainTeacher trains the teacher as a run of its own, with the first seed and on the labels alone, and writes its hash into the study.
func (s *sweep) trainTeacher(ctx context.Context) error {
	as := proto.CloneOf(s.spec)
	as.Seeds, as.Validation, as.Schedule.Epochs = as.Seeds[:1], 0, as.TeacherEpochs
	as.Schedule.Warmup = min(as.Schedule.Warmup, as.TeacherEpochs)
	as.Arms = []*ditherv1.Arm{{Noise: study.NoNoise(), Batch: as.Base.Batch, Lr: as.Base.Optimizer.Lr}}
	as.Design, as.TeacherEpochs, as.GradientNormImages = ditherv1.DesignScales, 0, 0
	as.Base.Teacher, as.Base.Init, as.Base.Loss = nil, &ditherv1.InitSpec{Kind: "random"}, &ditherv1.LossSpec{Ce: 1}
	runs, err := study.Plan(as, s.data.Train.N())
	if err != nil {
		return badInput(fmt.Errorf("the teacher's run: %w", err))
	}
	runs[0].Spec.Noise = nil
	dir := filepath.Join(s.dir, study.TeacherDir)
	if r, err := runlog.ReadResult(dir); err != nil || r.Phase != "finished" || r.SpecSHA256 != ditherv1.Hash(runs[0].Spec) {
		if err := s.runTeacher(ctx, dir, runs[0].Spec); err != nil {
			return err
		}
	}
	path, err := lastCheckpoint(dir)
	if err != nil {
		return err
	}
	c, err := loadNetwork(path, s.data)
	if err != nil {
		return err
	}
	s.teacher = c
	if err := s.placeTeacher(); err != nil {
		return err
	}
	s.spec = withTeacher(s.spec, trainer.Hex(c.Hash()))
	return study.Save(s.dir, s.spec)
}

func (s *sweep) runTeacher(ctx context.Context, dir string, spec *ditherv1.RunSpec) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock, err := waitLock(ctx, filepath.Join(dir, lockName))
	if err != nil {
		return err
	}
	defer lock.Close()
	f, resumed, err := s.prepare(dir, spec, s.options(spec.Iterations, 0, os.Args))
	if err != nil {
		return err
	}
	j := &job{app: s.app, flags: s.flags.run, interrupted: ctx, folder: f, teacherOnly: true, ofStudy: true, lock: lock}
	err = j.complete(resumed, nil)
	if exitCode(err) == exitStopped {
		return s.interrupted("the teacher is not trained yet")
	}
	if err != nil {
		return fmt.Errorf("training the teacher: %w", err)
	}
	return nil
}

// measureTeacher evaluates the teacher on the test images, and takes its gradient norm over the images of the students': the mean over the seeds, each of which chooses its own.
func (s *sweep) measureTeacher(ctx context.Context) error {
	base := s.spec.Base
	c, err := checkpoint.Load(filepath.Join(s.dir, teacherName))
	if err != nil {
		return err
	}
	c.Meta.Model, c.Meta.Shortcut = base.Teacher.Model.Name, base.Teacher.Model.Shortcut
	e := &evaluator{app: s.app, title: "measuring the teacher", checkpoint: c, set: s.data, mean: base.Dataset.Mean, std: base.Dataset.Std}
	if e.kernels, err = openKernels(s.flags.run.kernels, s.flags.run.precision, 0); err != nil {
		return err
	}
	defer e.kernels.Close()
	r, err := e.test(ctx)
	if err != nil {
		return s.orInterrupted(ctx, err)
	}
	t := &study.Teacher{SHA256: base.Teacher.Sha256, Model: base.Teacher.Model.Name, TestAccuracy: &r.Accuracy, TestLoss: &r.Loss}
	if n := min(int(s.spec.GradientNormImages), s.data.Train.N()); n > 0 {
		seeds := s.spec.Seeds
		if n == s.data.Train.N() {
			seeds = seeds[:1] // all images, whatever the seed
		}
		sum := 0.0
		for _, seed := range seeds {
			norm, err := e.trainingNorm(ctx, &ditherv1.RunSpec{Seed: seed, Dataset: base.Dataset}, n)
			if err != nil {
				return s.orInterrupted(ctx, err)
			}
			sum += norm
		}
		norm := sum / float64(len(seeds))
		t.GradientNorm, t.GradientNormImages = &norm, n
	}
	s.measured = t
	return study.SaveTeacher(s.dir, t)
}

// orInterrupted is err, or how to go on where it is that the user stopped the study.
func (s *sweep) orInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return s.interrupted("the teacher is not measured yet")
	}
	return err
}

func (s *sweep) interrupted(what string) error {
	return stopped(fmt.Errorf("interrupted: %s; go on with `dither sweep --resume %s`", what, s.dir))
}

// lonely removes what a finished run needs no more: every checkpoint but the last.
func lonely(dir string) {
	paths, _ := filepath.Glob(filepath.Join(dir, "checkpoints", "iteration-*.safetensors"))
	for i := range len(paths) - 1 {
		if err := os.Remove(paths[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return // it costs nothing but room
		}
	}
}
