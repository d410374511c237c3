package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dither-ml/dither/coordinator/report"
	"github.com/dither-ml/dither/coordinator/runlog"
	"github.com/dither-ml/dither/coordinator/study"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func newReportCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "report DIR", Short: "Draw the figures and the page of a run or a study", Args: oneArg("run or study folder"),
		Long: "report writes report.html and figures/ of the run or the study in DIR, of a study its tables too. Neither need be over. Nothing is trained, and no image is needed.",
		Example: "  dither report runs/first\n" +
			"  dither report runs/scales"}
	data := dataFlag(cmd)
	cmd.Flags().Lookup("data").Usage += "; needed only by a study that does not say how many training images it has"
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		path, err := writeReport(args[0], *data)
		if err != nil {
			return err
		}
		return a.result(map[string]string{"report": path}, func(w io.Writer) { fmt.Fprintln(w, path) })
	}
	return cmd
}

// writeReport makes the report of whatever dir holds, and gives its page.
func writeReport(dir, data string) (string, error) {
	spec, err := study.Load(dir)
	if errors.Is(err, study.ErrNoStudy) {
		path, err := report.Write(dir)
		if errors.Is(err, runlog.ErrNoRun) {
			err = fmt.Errorf("%w; nor does it hold a study: %s is not there", err, study.SpecFile)
		}
		if err != nil {
			return "", badInput(err)
		}
		return path, nil
	}
	if err != nil {
		return "", badInput(err)
	}
	summary, err := readStudy(dir, data, spec)
	if err != nil {
		return "", badInput(err)
	}
	if err := study.WriteTables(dir, summary); err != nil {
		return "", err
	}
	return report.WriteStudy(dir, summary, report.Options{Version: versionString()})
}

// readStudy is what the study in dir shows so far.
func readStudy(dir, data string, spec *ditherv1.StudySpec) (*study.Summary, error) {
	images := int(spec.TrainImages)
	if images == 0 {
		d := spec.GetBase().GetDataset()
		set, err := openData(d.GetName(), data, d.GetTrainLimit(), d.GetTestLimit())
		if err != nil {
			return nil, fmt.Errorf("%s does not say how many training images there are (train_images), and they cannot be counted: %w", study.SpecFile, err)
		}
		images = set.Train.N()
	}
	plan := spec
	if spec.TeacherEpochs > 0 && spec.GetBase().GetTeacher().GetSha256() == "" {
		plan = withTeacher(spec, strings.Repeat("0", 64)) // it is not trained yet: no run is there
	}
	runs, err := study.Plan(plan, images)
	if err != nil {
		return nil, err
	}
	outcomes, unmatched, err := study.Read(dir, runs)
	if err != nil {
		return nil, err
	}
	teacher, err := study.LoadTeacher(dir)
	if err != nil {
		return nil, err
	}
	summary := study.Summarise(spec, teacher, outcomes)
	summary.Unmatched = unmatched
	return summary, nil
}
