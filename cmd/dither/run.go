package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/dither-ml/dither/coordinator/report"
	"github.com/dither-ml/dither/coordinator/runlog"
	"github.com/dither-ml/dither/dataloader"
	"github.com/dither-ml/dither/noise/teacher"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/checkpoint"
)

func newRunCommand(a *app) *cobra.Command {
	f := &runFlags{}
	var resume string
	cmd := &cobra.Command{
		Use:   "run [SPEC.yaml]",
		Short: "Train a student by noisy self-distillation on this machine",
		Long: "run starts an embedded etcd, a coordinator, a teacher-logit service and trainers as child processes, trains, and ends with a table,\n" +
			"the parameters' sha256 and a report in the run's folder. A spec file may stand in for flags; flags override it.",
		Example: "  dither run --dataset digits --model resnet8 --epochs 10 --trainers 2\n" +
			"  dither run --dataset cifar10 --data data --teacher resnet20.th --init teacher --noise gaussian:sigma2=4 --lr 0.01 --epochs 6\n" +
			"  dither run --resume runs/first",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError(cmd, "%s takes at most one spec file, but got %d", cmd.CommandPath(), len(args))
			}
			return nil
		},
	}
	f.define(cmd)
	cmd.Flags().StringVar(&resume, "resume", "", "go on with the run in this folder")
	cmd.Flags().StringVar(&f.cacheFile, "teacher-cache-file", "", "keep the teacher's logits in this file, which runs with the same teacher and images share, not in memory; made where it is not there")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		j := &job{app: a, flags: f, interrupted: cmd.Context()}
		var err error
		if resume != "" {
			err = j.resume(resume, args)
		} else {
			err = j.fresh(append(args, "")[0])
		}
		if err != nil {
			return err
		}
		return a.result(j.result, func(w io.Writer) { printRun(w, j.result, j.teacherResult, j.folder.dir, j.reportPath) })
	}
	return cmd
}

// job is one `dither run`.
type job struct {
	app         *app
	flags       *runFlags
	interrupted context.Context // over when the user wants the run to stop
	folder      *folder
	result      *runlog.Result
	reportPath  string
	teacherOnly bool                          // the run trains the teacher of another
	ofStudy     bool                          // the run is one of a study: its teacher is measured once for all of them, and its own page is drawn when somebody asks for it
	lock        *os.File                      // on the folder, where whoever made the run has it already
	seen        func(*ditherv1.WatchResponse) // is told what happens; nil: nobody

	teacherResult *runlog.Result // what is known of the teacher: of its own run, or measured; nil: nothing
}

// fresh makes a run from the flags and goes through it.
func (j *job) fresh(specFile string) error {
	d, err := newDraft(j.flags, specFile)
	if err != nil {
		return err
	}
	if err := j.flags.checkGPUs(); err != nil {
		return err
	}
	d.warn(j.app)
	teacher, teacherResult, err := j.teacher(d)
	if err != nil {
		return err
	}
	if err := d.flags.checkCacheFile(d.file.Spec, d.data); err != nil {
		return err
	}
	if j.folder, err = d.write(j.interrupted, teacher, d.initPath()); err != nil {
		return err
	}
	return j.complete(false, teacherResult)
}

// teacher settles who the teacher is: it may have to be trained first.
func (j *job) teacher(d *draft) (teacher any, result *runlog.Result, err error) {
	path := d.teacherPath()
	switch path {
	case "none":
		d.file.Spec.Teacher = nil
		return nil, nil, nil
	case "train":
		if path, result, err = j.trainTeacher(d); err != nil {
			return nil, nil, err
		}
	}
	teacher, err = d.teacherOf(path)
	return teacher, result, err
}

// resume goes on with the run in a folder.
func (j *job) resume(dir string, args []string) error {
	if len(args) > 0 {
		return badInputf("%s and --resume %s both say which run; leave one of them out", args[0], dir)
	}
	if err := j.flags.refuseSpec(); err != nil {
		return err
	}
	if err := j.flags.readTrainers(); err != nil {
		return err
	}
	var err error
	if j.folder, err = openFolder(dir, j.flags.data); err != nil {
		return err
	}
	if err := j.flags.checkTrainers(j.folder.file.Spec.GetShards()); err != nil {
		return err
	}
	if err := j.flags.checkGPUs(); err != nil {
		return err
	}
	if j.folder.file.Options == nil {
		j.folder.file.Options = &ditherv1.RunOptions{}
	}
	j.flags.applyOptions(j.folder.file.Options, true)
	if old, err := runlog.ReadResult(dir); err == nil && old.Phase == "finished" {
		fmt.Fprintf(j.app.stderr, "dither: the run in %s is finished already\n", dir)
		j.result, j.reportPath = old, filepath.Join(dir, "report.html")
		return nil
	}
	if err := j.checkArithmetic(dir); err != nil {
		return err
	}
	if err := j.flags.checkCacheFile(j.folder.file.Spec, j.folder.data); err != nil {
		return err
	}
	if err := checkNewest(dir); err != nil {
		return err
	}
	var before *runlog.Result
	if r, err := runlog.ReadResult(filepath.Join(dir, teacherRun)); err == nil {
		before = r
	}
	return j.complete(true, before)
}

// checkCacheFile refuses a file that cannot be the cache of the run's teacher, before anything is begun.
func (f *runFlags) checkCacheFile(spec *ditherv1.RunSpec, set *dataloader.Set) error {
	if f.cacheFile == "" {
		return nil
	}
	if spec.GetTeacher() == nil {
		return badInputf("--teacher-cache-file %s keeps a teacher's logits, and the run has no teacher; leave it out", f.cacheFile)
	}
	return badInput(teacher.CheckCacheFile(f.cacheFile, spec, set))
}

// checkArithmetic refuses to go on in another arithmetic: other bits would end a run that its spec does not describe.
func (j *job) checkArithmetic(dir string) error {
	was := j.folder.file.Spec.GetArithmetic()
	j.flags.precision = ditherv1.Precision(was)
	if err := checkPrecision(j.flags.kernels, j.flags.precision); err != nil {
		return badInput(fmt.Errorf("the run in %s is in arithmetic %s: %w", dir, was, err))
	}
	kernels, err := openKernels(j.flags.kernels, j.flags.precision, 1)
	if err != nil {
		return err
	}
	defer kernels.Close()
	if is := kernels.Arithmetic(); was != is {
		return badInputf("the run in %s is in arithmetic %s and this dither computes in %s: going on would give other bits; %s, or begin a new run with --init %s",
			dir, was, is, goOnWith(is, was), filepath.Join(dir, "checkpoints", "FILE"))
	}
	return nil
}

// trainTeacher trains the teacher as a run of its own, on the labels alone, and gives its last checkpoint.
func (j *job) trainTeacher(d *draft) (string, *runlog.Result, error) {
	spec := proto.CloneOf(d.file.Spec)
	spec.Teacher, spec.Noise = nil, nil
	spec.Loss = &ditherv1.LossSpec{Ce: 1}
	spec.Init = &ditherv1.InitSpec{Kind: "random"}
	// The warm-up of the quadratic loss does a teacher no harm, and keeps the two schedules alike.
	options := proto.CloneOf(d.file.Options)
	options.StopAfter, options.NoiseAddress = 0, ""
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return "", nil, badInputf("the run's folder: %w", err)
	}
	t := &draft{flags: j.flags, file: &ditherv1.RunFile{Spec: spec, Options: options}, data: d.data, dir: filepath.Join(d.dir, teacherRun)}
	f, err := t.write(j.interrupted, nil, "")
	if err != nil {
		return "", nil, err
	}
	tj := &job{app: j.app, flags: j.flags, interrupted: j.interrupted, folder: f, teacherOnly: true}
	if err := tj.complete(false, nil); err != nil {
		return "", nil, fmt.Errorf("training the teacher: %w, and then give its last checkpoint as --teacher to a run with another --out", err)
	}
	path, err := lastCheckpoint(f.dir)
	return path, tj.result, err
}

// complete goes through the run, then measures, records and draws.
func (j *job) complete(resumed bool, teacher *runlog.Result) error {
	r, err := j.execute(resumed)
	if err != nil {
		return err
	}
	j.result, err = runlog.ReadResult(j.folder.dir)
	if err != nil && r.GetPhase() == "failed" {
		return j.failure(r) // its reason says why there is no result
	}
	if err != nil {
		return fmt.Errorf("the run is over, but its result cannot be read: %w", err)
	}
	if teacher == nil && !j.ofStudy && r.GetPhase() == "finished" && j.folder.file.Spec.GetTeacher().GetModel() != nil {
		if teacher, err = j.measureTeacher(); err != nil {
			return fmt.Errorf("measuring the teacher: %w", err)
		}
	}
	if j.teacherResult = teacher; teacher != nil {
		j.result.TeacherTestAccuracy, j.result.TeacherGradientNorm = teacher.TestAccuracy, teacher.GradientNorm
	}
	if err := runlog.WriteResult(j.folder.dir, *j.result); err != nil && r.GetPhase() != "failed" { // else why it failed says more
		return err
	}
	if j.ofStudy {
		j.reportPath = ""
	} else if j.reportPath, err = report.Write(j.folder.dir); err != nil {
		fmt.Fprintln(j.app.stderr, "dither: the report could not be written:", err)
	}
	switch r.GetPhase() {
	case "finished":
		return nil
	case "stopped":
		return stopped(fmt.Errorf("%s; go on with `dither run --resume %s`", r.GetReason(), j.folder.dir))
	}
	return j.failure(r)
}

// failure is the error of a run that failed.
func (j *job) failure(r *ditherv1.RunResult) error {
	kept := "no checkpoint was written"
	if path, err := lastCheckpoint(j.folder.dir); err == nil {
		kept = fmt.Sprintf("the last checkpoint is %s", path)
		// What is not temporary would go the same way again from there.
		if r.GetTemporary() {
			kept += fmt.Sprintf("; go on with `dither run --resume %s`", j.folder.dir)
		}
	}
	failure := fmt.Errorf("the run failed: %s; %s", r.GetReason(), kept)
	if r.GetTemporary() {
		return temporary(failure)
	}
	return failure
}

// setStopAfter writes --stop-after into spec.yaml's options: it is of this execution alone, never of the spec.
func (j *job) setStopAfter() error {
	o := j.folder.file.Options
	if o == nil {
		o = &ditherv1.RunOptions{}
		j.folder.file.Options = o
	}
	if !j.teacherOnly {
		o.StopAfter = j.flags.stopAfter
	}
	text, err := runFileText(j.folder.file)
	if err != nil {
		return err
	}
	return replaceFile(j.folder.path(specName), text)
}

// replaceFile writes a file aside and renames it, so that a crash leaves the old one or the new.
func replaceFile(path string, data []byte) error {
	aside := path + ".part"
	if err := os.WriteFile(aside, data, 0o644); err != nil {
		return err
	}
	return os.Rename(aside, path)
}

// lastCheckpoint is the newest checkpoint of a run's folder.
func lastCheckpoint(dir string) (string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "checkpoints", "iteration-*.safetensors"))
	if err != nil || len(paths) == 0 {
		return "", errors.Join(fmt.Errorf("%s has no checkpoint", dir), err)
	}
	return paths[len(paths)-1], nil // Glob sorts, and the numbers have eight digits
}

// checkNewest wants the checkpoint from which a run would go on, if there is one, to be whole.
func checkNewest(dir string) error {
	path, err := lastCheckpoint(dir)
	if err != nil {
		return nil // the run goes on from its start
	}
	if _, err := checkpoint.Load(path); err != nil {
		return badInputf("%w; move it away to go on from an earlier one, or from the start if there is none", err)
	}
	return nil
}
