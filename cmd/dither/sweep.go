package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/coordinator/study"
	"github.com/dither-ml/dither/dataloader"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func newSweepCommand(a *app) *cobra.Command {
	f := &sweepFlags{}
	cmd := &cobra.Command{
		Use:   "sweep [STUDY.yaml]",
		Short: "Train students over noise scales, batch sizes and seeds, by the paper's protocol",
		Long: "sweep trains every setting with every seed: on 1 - validation of the training images, to be judged on the rest, and again on all of them, to be tested once. It says what\n" +
			"that costs before it starts. A run that is finished is never done again: the same command, or --resume, goes on where a study was, however it was interrupted.",
		Example: "  dither sweep --dataset digits --model mlp --lr 0.001 --epochs 10 --noise 'gaussian:sigma2=0.5,1,2' --seeds 3 --out runs/scales\n" +
			"  dither sweep --dataset cifar10 --data data --model resnet20 --teacher resnet20.th --init teacher --lr 0.001 --epochs 6 --out runs/scales --dry-run\n" +
			"  dither sweep --dataset cifar10 --data data --teacher resnet20.th --design batches --batch 32,64,128 --lr-rule linear --noise 'gaussian:sigma2=1' --out runs/batches\n" +
			"  dither sweep --resume runs/scales --data data --parallel 2",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError(cmd, "%s takes at most one file of a study, but got %d", cmd.CommandPath(), len(args))
			}
			return nil
		},
	}
	f.define(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := newSweep(a, f, append(args, "")[0])
		if err != nil {
			return err
		}
		if err := s.readOutcomes(); err != nil {
			return err
		}
		cost, err := s.cost(cmd.Context())
		if err != nil {
			return err
		}
		if f.dryRun {
			return a.result(cost, func(w io.Writer) { s.printPlan(w, cost) })
		}
		fmt.Fprintln(a.stderr, "dither:", cost.sentence())
		if err := s.do(cmd.Context()); err != nil {
			return err
		}
		return nil
	}
	return cmd
}

// sweep is one `dither sweep`.
type sweep struct {
	app     *app
	flags   *sweepFlags
	part    part
	dir     string
	spec    *ditherv1.StudySpec
	data    *dataloader.Set
	teacher any    // what teacherOf gives of the file that the teacher is; nil: there is none, the study trains it, or it is in the folder
	init    string // the file from which the students start; "": none, or it is in the folder

	runs     []study.Run    // all, by index; without a teacher's hash as long as it is not trained
	measured *study.Teacher // nil: not measured
	show     *show

	mu        sync.Mutex
	outcomes  []study.Outcome // of runs
	unmatched []string        // folders that are of no run
	failures  []string        // runs that failed, and why
	elsewhere int             // runs that another process is at
	broken    error           // why the tables could not be written
}

// newSweep settles which study it is, and refuses what cannot be done. It writes nothing.
func newSweep(a *app, f *sweepFlags, studyFile string) (*sweep, error) {
	s := &sweep{app: a, flags: f, dir: f.out}
	if err := f.check(); err != nil {
		return nil, err
	}
	var err error
	if s.part, err = parsePart(f.part); err != nil {
		return nil, err
	}
	switch {
	case f.resume != "" && studyFile != "":
		return nil, badInputf("%s and --resume %s both say which study; leave one of them out", studyFile, f.resume)
	case f.resume != "" && f.out != "":
		return nil, badInputf("--resume %s and --out %s both say which folder; leave one of them out", f.resume, f.out)
	case f.resume != "":
		err = s.reopen(f.resume)
	case studyFile != "":
		err = s.fromFile(studyFile)
	default:
		err = s.fromFlags()
	}
	if err != nil {
		return nil, err
	}
	for _, w := range s.data.Warnings {
		fmt.Fprintln(a.stderr, "dither: warning:", w)
	}
	if s.dir == "" {
		if !f.dryRun {
			return nil, badInputf("--out is missing; give the study's folder, which is also how to go on with it")
		}
		return s, s.plan()
	}
	if err := s.compare(); err != nil {
		return nil, err
	}
	if study.CheckSeeds(s.spec) != nil {
		fmt.Fprintln(a.stderr, "dither: warning: one seed gives no interval, and without one no claim is shown; say --seeds 3")
	}
	return s, s.plan()
}

// plan is the runs of the study. Where the study trains its teacher and has not yet, their hashes are not known.
func (s *sweep) plan() (err error) {
	spec := s.spec
	if s.untrained() {
		spec = withTeacher(spec, strings.Repeat("0", 64))
	}
	if s.runs, err = study.Plan(spec, s.data.Train.N()); err != nil {
		return badInput(err)
	}
	return nil
}

// untrained says whether the study has yet to train its teacher.
func (s *sweep) untrained() bool {
	return s.spec.TeacherEpochs > 0 && s.spec.GetBase().GetTeacher().GetSha256() == ""
}

// compare holds the study against the one that is in the folder.
func (s *sweep) compare() error {
	there, err := study.Load(s.dir)
	if errors.Is(err, study.ErrNoStudy) {
		if entries, err := os.ReadDir(s.dir); err == nil && len(entries) > 0 {
			if _, err := os.Stat(filepath.Join(s.dir, study.RunsDir)); err != nil {
				return badInputf("the folder %s is there already and holds no study; choose another --out", s.dir)
			}
		}
		return nil
	}
	if err != nil {
		return badInput(err)
	}
	if sum := there.GetBase().GetTeacher().GetSha256(); s.untrained() && there.TeacherEpochs > 0 && sum != "" {
		s.spec = withTeacher(s.spec, sum) // it was trained meanwhile
	}
	if ditherv1.StudyHash(there) == ditherv1.StudyHash(s.spec) {
		return nil
	}
	return s.differs(there)
}

// differs says in which way the study in the folder is another one, and which of its runs would be lost to this one.
func (s *sweep) differs(there *ditherv1.StudySpec) error {
	lost := "its runs cannot be told apart"
	if err := s.plan(); err != nil {
		return err
	}
	if old, err := study.Plan(there, s.data.Train.N()); err == nil {
		mine := map[string]bool{}
		for _, r := range s.runs {
			mine[r.Hash] = true
		}
		var names []string
		kept := 0
		for _, r := range old {
			if _, err := os.Stat(filepath.Join(s.dir, r.Folder)); err != nil {
				continue
			}
			if mine[r.Hash] {
				kept++
				continue
			}
			names = append(names, describe(there, r))
		}
		lost = fmt.Sprintf("of its runs that were begun %d are of both", kept)
		if len(names) > 0 {
			lost += fmt.Sprintf(" and %d no longer match: %s", len(names), some(names, "; "))
		}
	}
	return badInputf("%s holds another study: %s; %s; choose another --out, or move %s away and this study begins there with the runs that are of both",
		s.dir, some(ditherv1.StudyDifferences(s.spec, there), ", "), lost, filepath.Join(s.dir, study.SpecFile))
}

// some are the first few of many, in words.
func some(words []string, separator string) string {
	const most = 5
	if n := len(words) - most; n > 1 {
		return strings.Join(words[:most], separator) + fmt.Sprintf("%sand %d more", separator, n)
	}
	return strings.Join(words, separator)
}

// describe is a run in words.
func describe(s *ditherv1.StudySpec, r study.Run) string {
	return fmt.Sprintf("%s, seed %d, %s", study.Name(s, r.Arm), r.Seed, r.Phase)
}

// do goes through the study.
func (s *sweep) do(ctx context.Context) error {
	if err := s.found(ctx); err != nil {
		return err
	}
	if err := s.readOutcomes(); err != nil {
		return err
	}
	failures, err := s.all(ctx)
	if err != nil {
		return err
	}
	return s.finish(ctx, failures)
}
