package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strings"

	"github.com/dither-ml/dither/coordinator/report/chart"
	"github.com/dither-ml/dither/coordinator/runlog"
	"github.com/dither-ml/dither/coordinator/study"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

//go:embed study.html
var studyText string

var studyTemplate = skeleton(studyText)

// What the page's template is given.
type (
	claimCard struct {
		Class, Text, Verdict, Sign, Measure, Value, Range, Interval, Why string
		N                                                                int
	}
	pageFigure struct {
		Name, Title, Caption string
		Columns              int
		Legend               []pageSign
		Parts                []template.HTML
	}
	pageSign struct {
		Name string
		SVG  template.HTML
	}
	numberCell struct {
		Label, Mean, Range string
		N                  int
	}
	armRow struct {
		Name, Runs string
		Cells      []numberCell
	}
	choiceRow struct {
		Noise, Arm       string
		Validation, Test numberCell
	}
	runRow struct {
		Name, Phase, State, Reason, Folder, Parameters string
		Seed                                           uint64
	}
	namedText struct{ Name, Value string }
)

// page is the HTML, whole.
func (w *studyReport) page(figures []*chart.Figure) ([]byte, error) {
	data := struct {
		Name, Question, State, StateClass string
		Warnings                          []string
		Claims                            []claimCard
		Figures                           []pageFigure
		Choices                           []choiceRow
		Columns                           []string
		TeacherCells                      []numberCell
		Arms                              []armRow
		ImagesNote                        string
		Lost, Runs                        []runRow
		Resume, Repeat                    string
		Identity                          []namedText
		Spec                              string
	}{
		Name: name(w.dir), Question: w.question(), Warnings: w.warnings(), Claims: w.claims(), Choices: w.choices(), ImagesNote: w.imagesNote(),
		Repeat: shell([]string{"dither", "sweep", filepath.Join(w.dir, study.SpecFile), "--out", w.dir + "-again"}), Identity: w.identity(),
	}
	data.State, data.StateClass = w.state()
	if w.Finished+w.Diverged < w.Runs {
		data.Resume = shell([]string{"dither", "sweep", "--resume", w.dir})
	}
	for _, f := range figures {
		data.Figures = append(data.Figures, pictured(f))
	}
	data.Columns, data.TeacherCells, data.Arms = w.arms()
	data.Runs, data.Lost = w.runs()
	spec, err := os.ReadFile(filepath.Join(w.dir, study.SpecFile))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	data.Spec = strings.TrimRight(string(spec), "\n")
	var b bytes.Buffer
	if err := studyTemplate.Execute(&b, data); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// question is what the study asks.
func (w *studyReport) question() string {
	base := w.Spec.GetBase()
	on := fmt.Sprintf(" %s on %s, %s.", base.GetModel().GetName(), base.GetDataset().GetName(), w.seeds())
	switch w.Spec.GetDesign() {
	case ditherv1.DesignScales:
		return "Gradient norm and accuracy against the scale of the noise." + on
	case ditherv1.DesignBatches:
		return "Gradient norm, accuracy, loss and speed against the batch size." + on
	case ditherv1.DesignEtaOverB:
		return "Do runs coincide where η/B and the noise are the same, and η and B vary?" + on
	case ditherv1.DesignLabelNoise:
		return "What coincides where the label noise ησ²/B is the same, and η/B varies?" + on
	}
	return w.Spec.GetDesign() + "." + on
}

// state is where the study stands, and its class in the page.
func (w *studyReport) state() (text, class string) {
	text = fmt.Sprintf("%d of %s done", w.Finished+w.Diverged, count(w.Runs, "run"))
	if w.Diverged > 0 {
		text += fmt.Sprintf(", of which %d diverged", w.Diverged)
	}
	failed := 0
	for _, o := range w.Outcomes {
		if o.State == study.Failed {
			failed++
		}
	}
	if failed > 0 {
		text += fmt.Sprintf("; %d failed, and will be tried again", failed)
	}
	switch {
	case w.Finished == w.Runs:
		return "finished: " + text, "finished"
	case w.Finished+w.Diverged == w.Runs:
		return "finished: " + text, "stopped"
	case failed > 0:
		return "unfinished: " + text, "failed"
	}
	return "unfinished: " + text + ". All below is of what there is", "unfinished"
}

func (w *studyReport) warnings() (out []string) {
	unofficial := false
	for _, o := range w.Outcomes {
		if o.State == study.Finished && o.Folder != "" {
			if r, err := runlog.ReadResult(filepath.Join(w.dir, o.Folder)); err == nil && !r.DataOfficial {
				unofficial = true
			}
		}
	}
	if unofficial {
		out = append(out, "The data's checksums are not the official ones: the figures are not to be compared with those of others.")
	}
	d := w.Spec.GetBase().GetDataset()
	if d.GetTrainLimit() > 0 || d.GetTestLimit() > 0 {
		out = append(out, "Not all images are in use: "+limits(d.GetTrainLimit(), "training")+limits(d.GetTestLimit(), "test")+"the figures are not to be compared with those of the whole set.")
	}
	if n := len(w.Unmatched); n > 0 {
		out = append(out, fmt.Sprintf("%s in %s/ of no run of this study (its spec may have changed since): %s.", countAre(n, "folder"), study.RunsDir, strings.Join(w.Unmatched, ", ")))
	}
	return out
}

func limits(n uint32, what string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("the first %d %s images; ", n, what)
}

func (w *studyReport) claims() (out []claimCard) {
	for _, c := range w.Claims {
		card := claimCard{Text: c.Text, Verdict: string(c.Verdict), Measure: c.Measure, N: c.N, Interval: c.Interval, Why: c.Why}
		switch c.Verdict {
		case study.Shown:
			card.Class, card.Sign = "shown", "✓"
		case study.Contradicted:
			card.Class, card.Sign = "contradicted", "✗"
		default:
			card.Class, card.Sign = "open", "–"
		}
		if c.Value != nil && isNumber(*c.Value) {
			card.Value = chart.Plain(*c.Value)
			if c.Low != nil && c.High != nil && isNumber(*c.Low) && isNumber(*c.High) {
				card.Range = fmt.Sprintf("[%s, %s]", chart.Plain(*c.Low), chart.Plain(*c.High))
			}
		}
		out = append(out, card)
	}
	return out
}

func (w *studyReport) choices() (out []choiceRow) {
	for _, c := range w.Choices {
		p := w.point(c.Arm)
		if p == nil {
			continue
		}
		out = append(out, choiceRow{noiseName(c.Noise), p.Name, estimateCell(validationAccuracy, c.Validation), estimateCell(testAccuracy, c.Test)})
	}
	return out
}

// identity is what fixes the study's bits, and who wrote the report.
func (w *studyReport) identity() (out []namedText) {
	add := func(name, text string) {
		if text != "" {
			out = append(out, namedText{name, text})
		}
	}
	add("study sha256", w.SpecHash)
	if t := w.Teacher; t != nil && t.SHA256 != "" {
		add("teacher", strings.TrimSpace(t.Model+" sha256:"+strings.TrimPrefix(t.SHA256, "sha256:")))
	}
	seeds := make([]string, len(w.Spec.GetSeeds()))
	for i, s := range w.Spec.GetSeeds() {
		seeds[i] = fmt.Sprint(s)
	}
	add("seeds", strings.Join(seeds, ", "))
	add("arithmetic", w.Spec.GetBase().GetArithmetic())
	add("training images sha256", w.Spec.GetBase().GetDataset().GetTrainSha256())
	add("test images sha256", w.Spec.GetBase().GetDataset().GetTestSha256())
	add("report by dither", w.options.Version)
	return out
}

// runs are all runs, and those that diverged or failed.
func (w *studyReport) runs() (all, lost []runRow) {
	for _, o := range w.Outcomes {
		row := runRow{Phase: o.Phase, State: string(o.State), Reason: o.Reason, Folder: o.Folder, Parameters: o.ParametersSHA256, Seed: o.Seed, Name: fmt.Sprintf("arm %d", o.Arm)}
		if p := w.point(o.Arm); p != nil {
			row.Name = p.Name
		}
		all = append(all, row)
		if o.State == study.Diverged || o.State == study.Failed {
			lost = append(lost, row)
		}
	}
	return all, lost
}

// pictured is a figure as the page holds it.
func pictured(f *chart.Figure) pageFigure {
	p := pageFigure{Name: f.Name, Title: f.Title, Caption: f.Caption, Columns: f.Columns}
	for _, part := range f.Parts {
		p.Parts = append(p.Parts, inlined(part.SVG, part.Alt))
	}
	for _, sign := range f.Legend {
		p.Legend = append(p.Legend, pageSign{sign.Name, inlined(sign.SVG, "")})
	}
	return p
}
