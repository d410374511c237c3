package main

import (
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer"
	"github.com/dither-ml/dither/trainer/checkpoint"
)

// Parameters are float32 in either precision: what one has trained teaches and starts a run in the other, whose spec says in which arithmetic the labels are computed.
func TestACheckpointOfOnePrecisionServesTheOther(t *testing.T) {
	c := digitsEvaluator(t, "mlp", "generic", 1).checkpoint
	c.Meta.Arithmetic = "cuda-bf16/1-sm90"
	c.Meta.Classes, c.Meta.Channels = 10, 3
	file := filepath.Join(t.TempDir(), "trained.safetensors")
	if err := checkpoint.Save(file, c); err != nil {
		t.Fatal(err)
	}
	d, err := draftOf("--dataset=digits", "--train-limit=64", "--model=mlp", flag("teacher", file), flag("init", file))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.teacherOf(d.teacherPath()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.start(d.initPath()); err != nil {
		t.Fatal(err)
	}
	s := d.file.Spec
	if s.Arithmetic != "cpu/2" || s.Teacher.Arithmetic != "cpu/2" || s.Teacher.Sha256 != trainer.Hex(c.Hash()) || s.Init.Sha256 != s.Teacher.Sha256 {
		t.Errorf("the run is in %s, its teacher in %s; teacher %s, start %s, want %s", s.Arithmetic, s.Teacher.Arithmetic, s.Teacher.Sha256, s.Init.Sha256, trainer.Hex(c.Hash()))
	}
	if err := ditherv1.Validate(s); err != nil {
		t.Error(err)
	}
}

// A coordinator takes a spec's word for bf16, and no other's.
func TestACoordinatorWithoutAGPUTakesASpecsWord(t *testing.T) {
	for arithmetic, want := range map[string]string{"cuda-bf16/1-sm90": "cuda-bf16/1-sm90", "cpu/1": "cpu/2", "": "cpu/2"} {
		d := &draft{flags: &runFlags{coordinates: true}, file: &ditherv1.RunFile{Spec: &ditherv1.RunSpec{Arithmetic: arithmetic}}}
		d.flags.define(&cobra.Command{})
		if err := d.settleArithmetic(); err != nil || d.file.Spec.Arithmetic != want {
			t.Errorf("of %q it makes %q (%v), want %q", arithmetic, d.file.Spec.Arithmetic, err, want)
		}
	}
}
