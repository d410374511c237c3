package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// sweepFlags is what the command line says about a study.
type sweepFlags struct {
	run *runFlags // what all its runs share

	design, lrRule             string
	noises                     []string
	batches, factors, seeds    string
	validation, epochs, warmup float64
	teacherEpochs              float64
	milestones                 string
	parallel, gradientNorm     uint32
	part                       string
	dryRun                     bool
	resume, out                string
	set                        *pflag.FlagSet
}

// sharedFlags are those of `dither run` that mean the same for every run of a study. The first say what the runs are, the others how they are done.
var (
	sharedSpec = []string{"dataset", "train-limit", "test-limit", "model", "shortcut", "teacher", "teacher-view", "loss", "temperature", "shards", "lr", "momentum", "weight-decay",
		"init", "batchnorm", "augment", "precision", "eval-every"}
	sharedOptions = []string{"data", "checkpoint-every", "label-depth", "teacher-cache", "trainers", "threads", "silence", "wait", "kernels", "share-gpu", "gpus"}
)

// settled are the flags of `dither run` that a study has no use for, with what to say in their place.
var settled = map[string]string{
	"seed":       "a study has several; say --seeds 3, or --seeds 1,5,9",
	"iterations": "the length of a study's runs is in epochs, since their batches and images differ; say --epochs",
	"stop-after": "Ctrl-C stops a study in order, and `dither sweep --resume DIR` goes on",
}

// studyFlags are those of sweep alone that say what the study is.
var studyFlags = []string{"design", "noise", "batch", "lr-rule", "factors", "seeds", "validation", "epochs", "milestones", "warmup", "gradient-norm", "teacher-epochs"}

func (f *sweepFlags) define(c *cobra.Command) {
	s := c.Flags()
	f.set = s
	s.StringVar(&f.design, "design", "scales", "what is asked: scales, batches, eta-over-b (eta/B fixed) or label-noise (eta sigma2/B fixed)")
	s.StringArrayVar(&f.noises, "noise", nil, "a noise with its scales, 'gaussian:sigma2=0.1,0.5,1..10'; may be given again; default: both noises at the paper's scales")
	s.StringVar(&f.batches, "batch", "64", "samples of an iteration; several (32,64) for the design batches")
	s.StringVar(&f.lrRule, "lr-rule", "constant", "how the learning rate follows the batch: constant, linear or sqrt")
	s.StringVar(&f.factors, "factors", "0.5,1,2", "of the designs eta-over-b and label-noise: what eta is multiplied by")
	s.StringVar(&f.seeds, "seeds", "3", "how many seeds (1, 2, ...), or a list of them (1,5,9)")
	s.Float64Var(&f.validation, "validation", 0.2, "fraction of the training images held out in the phase select; 0: no such phase")
	s.Float64Var(&f.epochs, "epochs", 200, "length of a run in epochs")
	s.StringVar(&f.milestones, "milestones", "1/2,3/4", "fractions of a run after which the learning rate is divided by 10; none")
	s.Float64Var(&f.warmup, "warmup", 0, "epochs of linear warm-up; default: 1 for the quadratic loss from a random start, else none")
	s.Uint32Var(&f.gradientNorm, "gradient-norm", 1000, "training images for the gradient norm of each run of the phase refit; 0: none")
	s.Float64Var(&f.teacherEpochs, "teacher-epochs", 0, "with --teacher train: the length of its training; default: that of a run")
	s.Uint32Var(&f.parallel, "parallel", 0, "runs side by side; 0: as many as processors, divided by --trainers")
	s.StringVar(&f.part, "part", "", "I/N: do the I-th of N parts of the runs; all parts share --out")
	s.BoolVar(&f.dryRun, "dry-run", false, "say what the study costs and which runs it has, and stop")
	s.StringVar(&f.resume, "resume", "", "go on with the study in this folder")
	s.StringVar(&f.out, "out", "", "the study's folder; one that holds this very study is gone on with")
	f.run = &runFlags{}
	all := &cobra.Command{}
	f.run.define(all)
	for _, name := range append(append([]string{}, sharedSpec...), sharedOptions...) {
		s.AddFlag(all.Flags().Lookup(name))
	}
	for name := range settled {
		flag := all.Flags().Lookup(name)
		flag.Hidden = true
		s.AddFlag(flag)
	}
	s.Lookup("eval-every").Usage = "evaluate on the test images every E epochs, for curves; nothing is chosen by it"
	s.Lookup("trainers").Usage = "trainers of each run"
	s.Lookup("threads").Usage = "threads of a trainer; 0: the processors, divided among the trainers of the runs side by side"
	s.Lookup("checkpoint-every").Usage = "write a checkpoint every K iterations, from which a run that was killed goes on; 0: ten in a run"
}

// check refuses what a study settles.
func (f *sweepFlags) check() error {
	for name, hint := range settled {
		if f.set.Changed(name) {
			return badInputf("--%s is of one run: %s", name, hint)
		}
	}
	return nil
}

// refuseStudy refuses the flags that say what a study is, where it is there already.
func (f *sweepFlags) refuseStudy(where string) error {
	for _, name := range append(append([]string{}, studyFlags...), sharedSpec...) {
		if f.set.Changed(name) && name != "teacher" {
			return badInputf("--%s belongs to the study, and %s says what that is; leave it out, or begin another study", name, where)
		}
	}
	return nil
}

// parseSeeds reads a count ("3": 1, 2, 3) or a list ("1,5,9"; one seed alone: "7,").
func parseSeeds(text string) ([]uint64, error) {
	bad := func(why string) ([]uint64, error) {
		return nil, badInputf("--seeds %s: %s; give how many (3: seeds 1, 2 and 3), or a list such as 1,5,9", text, why)
	}
	if !strings.Contains(text, ",") {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return bad(fmt.Sprintf("%q is no number of seeds from 1 to 65535", text))
		}
		var out []uint64
		for s := range n {
			out = append(out, s+1)
		}
		return out, nil
	}
	var out []uint64
	for part := range strings.SplitSeq(strings.TrimSuffix(text, ","), ",") {
		s, err := strconv.ParseUint(strings.TrimSpace(part), 10, 64)
		if err != nil {
			return bad(fmt.Sprintf("%q is no seed", part))
		}
		for _, other := range out {
			if other == s {
				return bad(fmt.Sprintf("%d is there twice", s))
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// parsePositive reads positive numbers, separated by commas.
func parsePositive(name, text string) ([]float64, error) {
	var out []float64
	for part := range strings.SplitSeq(text, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || !(v > 0) || v-v != 0 {
			return nil, badInputf("--%s %s: %q is no positive number", name, text, part)
		}
		for _, other := range out {
			if other == v {
				return nil, badInputf("--%s %s: %v is there twice", name, text, v)
			}
		}
		out = append(out, v)
	}
	return out, nil
}

// parseBatches reads sizes of a batch.
func parseBatches(text string) ([]uint32, error) {
	sizes, err := parsePositive("batch", text)
	if err != nil {
		return nil, err
	}
	var out []uint32
	for _, v := range sizes {
		if v != float64(uint32(v)) {
			return nil, badInputf("--batch %s: %v is no whole number of samples", text, v)
		}
		out = append(out, uint32(v))
	}
	return out, nil
}

// parseFractions reads milestones that fit runs of any length: fractions.
func parseFractions(text string) ([]float64, error) {
	if text == "none" || text == "" {
		return nil, nil
	}
	var out []float64
	for part := range strings.SplitSeq(text, ",") {
		num, den, isFraction := strings.Cut(strings.TrimSpace(part), "/")
		v, err := strconv.ParseFloat(num, 64)
		if isFraction && err == nil {
			var d float64
			d, err = strconv.ParseFloat(den, 64)
			v /= d
		}
		if err != nil || !(v > 0 && v < 1) {
			return nil, badInputf("--milestones %s: %q is no fraction of a run between 0 and 1, such as 1/2", text, part)
		}
		out = append(out, v)
	}
	return out, nil
}

// part is which of the runs are this process's.
type part struct{ index, of int } // from 0

func parsePart(text string) (part, error) {
	if text == "" {
		return part{0, 1}, nil
	}
	i, n, ok := strings.Cut(text, "/")
	index, err := strconv.Atoi(i)
	of, err2 := strconv.Atoi(n)
	if !ok || err != nil || err2 != nil || index < 1 || index > of {
		return part{}, badInputf("--part %s: say which of how many parts, from 1/N to N/N", text)
	}
	return part{index - 1, of}, nil
}
