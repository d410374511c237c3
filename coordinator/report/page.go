package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html"
	"html/template"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dither-ml/dither/coordinator/report/chart"
	"github.com/dither-ml/dither/coordinator/runlog"
)

//go:embed page.html
var pageText string

var pageTemplate = skeleton(pageText)

// row is a line of the table: a measure of teacher and student.
type row struct{ Name, Teacher, Student string }

// event is a line of the list of events.
type event struct{ Time, Kind, Iteration, Message string }

// picture is a figure as the page holds it.
type picture struct {
	Title, Caption string
	SVG            template.HTML
}

// page is the HTML, whole.
func (r *run) page(figures []chart.Figure) ([]byte, error) {
	teacher, hasTeacher := r.teachers()
	data := struct {
		Name, State, StateClass string
		HasTeacher              bool
		Rows                    []row
		Parameters, Identity    string
		Pictures                []picture
		Spec, Repeat, Resume    string
		Events                  []event
		Warnings                []string
	}{
		Name: name(r.dir), HasTeacher: hasTeacher, Rows: rows(teacher, r.measures()), Spec: strings.TrimRight(r.spec, "\n"),
		Parameters: r.measures().parameters, Repeat: r.repeat(), Warnings: r.warnings(),
	}
	data.State, data.StateClass = r.state()
	if data.StateClass != "finished" {
		data.Resume = shell([]string{"dither", "run", "--resume", r.dir})
	}
	if res := r.Result; res != nil {
		data.Identity = fmt.Sprintf("arithmetic %s, kernel sets %s, %s, spec %s", res.Arithmetic, strings.Join(res.KernelSets, " and "), count(int(res.Generations), "generation"), res.SpecSHA256)
	}
	for _, f := range figures {
		data.Pictures = append(data.Pictures, picture{f.Title, f.Caption, inline(f)})
	}
	for _, e := range r.Events {
		k := ""
		if e.Iteration > 0 {
			k = strconv.Itoa(int(e.Iteration))
		}
		message := e.Message
		if e.Path != "" {
			message += ": " + e.Path
		}
		data.Events = append(data.Events, event{e.Time.UTC().Format("2006-01-02 15:04:05"), e.Kind, k, message})
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, data); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// name is what the run is called: its folder.
func name(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return filepath.Base(dir)
}

// state is where the run stands, for people, and its class in the page: "finished", "unfinished", "stopped" or "failed".
func (r *run) state() (text, class string) {
	of := ""
	if r.total > 0 {
		of = fmt.Sprintf(" of %d", r.total)
	}
	res := r.Result
	if res == nil {
		return fmt.Sprintf("unfinished: iteration %d%s", r.applied(), of), "unfinished"
	}
	text = fmt.Sprintf("%s: iteration %d%s", res.Phase, res.Iterations, of)
	if res.Reason != "" {
		text += "; " + res.Reason
	}
	switch res.Phase {
	case "finished", "stopped", "failed":
		return text, res.Phase
	}
	return text, "unfinished"
}

// rows are the measures that were taken.
func rows(teacher, student measures) (out []row) {
	add := func(name, t, s string) {
		if t != none || s != none {
			out = append(out, row{name, t, s})
		}
	}
	add("test accuracy", percent(teacher.testAccuracy), percent(student.testAccuracy))
	add("validation accuracy", percent(teacher.validationAccuracy), percent(student.validationAccuracy))
	add("test loss (cross-entropy)", digits(teacher.testLoss), digits(student.testLoss))
	add("training loss, last iteration", digits(teacher.trainLoss), digits(student.trainLoss))
	add("gradient norm", withImages(teacher), withImages(student))
	add("training images a second", rate(teacher.imagesPerSecond), rate(student.imagesPerSecond))
	add("time", duration(teacher.seconds), duration(student.seconds))
	return out
}

const none = "–"

func percent(p *float64) string {
	if p == nil {
		return none
	}
	return fmt.Sprintf("%.2f\u00a0%%", 100**p)
}

func digits(p *float64) string {
	if p == nil {
		return none
	}
	return fmt.Sprintf("%.4g", *p)
}

func withImages(m measures) string {
	if m.gradientNorm == nil {
		return none
	}
	text := fmt.Sprintf("%.6g", *m.gradientNorm)
	if m.gradientNormImages > 0 {
		text += " (" + count(m.gradientNormImages, "image") + ")"
	}
	return text
}

func rate(v float64) string {
	if v == 0 {
		return none
	}
	return fmt.Sprintf("%.4g", v)
}

func duration(seconds float64) string {
	if seconds == 0 {
		return none
	}
	if seconds < 60 {
		return fmt.Sprintf("%.1f s", seconds)
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func (r *run) warnings() (out []string) {
	if r.Result != nil && !r.Result.DataOfficial {
		out = append(out, "The data's checksums are not the official ones: the figures are not to be compared with those of others.")
	}
	for _, line := range r.Unknown {
		out = append(out, "Not understood, and left out: "+line)
	}
	return out
}

// repeat is what to type to have the same run again.
func (r *run) repeat() string {
	if len(r.command) > 0 {
		return shell(r.command)
	}
	if r.spec == "" {
		return ""
	}
	return shell([]string{"dither", "run", filepath.Join(r.dir, runlog.SpecFile), "--out", r.dir + "-again"})
}

// shell quotes words for a POSIX shell where they need it.
func shell(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		if w == "" || strings.Trim(w, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+,./:@%") != "" {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		quoted[i] = w
	}
	return strings.Join(quoted, " ")
}

// inline is a figure as the page holds it, with its caption as the text for those who do not see it.
func inline(f chart.Figure) template.HTML { return inlined(f.SVG, f.Caption) }

// inlined is an svg element alone, as wide as the page lets it; without a text (alt) it says nothing to those who do not see it. All text in it is this package's own.
func inlined(picture []byte, alt string) template.HTML {
	svg := string(picture)
	if i := strings.Index(svg, "<svg"); i >= 0 {
		svg = svg[i:]
	}
	open, rest, _ := strings.Cut(svg, ">")
	_, box, _ := strings.Cut(open, `viewBox="`)
	box, _, _ = strings.Cut(box, `"`)
	says := `aria-hidden="true"`
	if alt != "" {
		says = fmt.Sprintf(`role="img" aria-label="%s"`, html.EscapeString(alt))
	}
	return template.HTML(fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="%s" %s>%s`, html.EscapeString(box), says, rest))
}
