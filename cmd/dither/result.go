package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/dither-ml/dither/coordinator/runlog"
	"github.com/dither-ml/dither/trainer/checkpoint"
)

// measureTeacher evaluates a teacher that came as a file, on the images on which the student was.
func (j *job) measureTeacher() (*runlog.Result, error) {
	spec := j.folder.file.Spec
	c, err := checkpoint.Load(j.folder.path(teacherName))
	if err != nil {
		return nil, err
	}
	c.Meta.Model, c.Meta.Shortcut = spec.Teacher.Model.Name, spec.Teacher.Model.Shortcut
	e := &evaluator{app: j.app, title: "measuring the teacher", checkpoint: c, set: j.folder.data, mean: spec.Dataset.Mean, std: spec.Dataset.Std}
	kernels, err := openKernels(j.flags.kernels, j.flags.precision, 0)
	if err != nil {
		return nil, err
	}
	defer kernels.Close()
	e.kernels = kernels
	r, err := e.test(j.interrupted)
	if err != nil {
		return nil, err
	}
	t := &runlog.Result{TestAccuracy: &r.Accuracy, TestLoss: &r.Loss}
	if n := j.folder.file.Options.GetGradientNormImages(); n > 0 {
		norm, err := e.trainingNorm(j.interrupted, spec, int(n))
		if err != nil {
			return nil, err
		}
		t.GradientNorm = &norm
	}
	return t, nil
}

// printRun is what a person sees at the end.
func printRun(w io.Writer, r, teacher *runlog.Result, dir, reportPath string) {
	percent := func(v *float64) string {
		if v == nil {
			return "-"
		}
		return fmt.Sprintf("%.2f %%", 100**v)
	}
	number := func(v *float64) string {
		if v == nil {
			return "-"
		}
		return fmt.Sprintf("%.4g", *v)
	}
	if teacher == nil {
		teacher = &runlog.Result{}
	}
	speed := "-"
	if teacher.ImagesPerSecond > 0 {
		speed = number(&teacher.ImagesPerSecond)
	}
	rows := [][]string{{"test accuracy", percent(r.TeacherTestAccuracy), percent(r.TestAccuracy)}}
	if r.ValidationAccuracy != nil {
		rows = append(rows, []string{"validation accuracy", "-", percent(r.ValidationAccuracy)})
	}
	rows = append(rows, []string{"test loss (cross-entropy)", number(teacher.TestLoss), number(r.TestLoss)}, []string{"training loss (last iteration)", number(teacher.TrainLoss), number(r.TrainLoss)},
		[]string{"gradient norm", number(r.TeacherGradientNorm), number(r.GradientNorm)}, []string{"images/s", speed, number(&r.ImagesPerSecond)})
	table(w, []string{"", "teacher", "student"}, rows)
	fmt.Fprintf(w, "\nrun folder %s, %s\n", dir, kernelsOf(strings.Join(r.KernelSets, ", "), r.Arithmetic))
	if reportPath != "" {
		fmt.Fprintf(w, "report     %s\n", reportPath)
	}
	fmt.Fprintf(w, "parameters %s\n", "sha256:"+strings.TrimPrefix(r.ParametersSHA256, "sha256:"))
}
