package report

import (
	"fmt"

	"github.com/dither-ml/dither/coordinator/report/chart"
	"github.com/dither-ml/dither/coordinator/study"
)

// arms is the table of all arms: the columns that any arm fills, the teacher's cells (nil: there is no teacher), and a row an arm.
func (w *studyReport) arms() (columns []string, teacher []numberCell, rows []armRow) {
	var filled []quantity
	for _, q := range []quantity{gradientNorm, validationAccuracy, testAccuracy, testLoss, trainingLoss} {
		if len(w.means(q)) > 0 {
			filled = append(filled, q)
			columns = append(columns, q.name)
		}
	}
	if t := w.Teacher; t != nil {
		for _, q := range filled {
			cell := numberCell{Label: q.name, Mean: none}
			if q.teacher != nil {
				if v := q.teacher(t); v != nil {
					cell.Mean = q.text(*v)
				}
			}
			teacher = append(teacher, cell)
		}
	}
	for i := range w.Points {
		p := &w.Points[i]
		row := armRow{Name: p.Name, Runs: fmt.Sprintf("%d of %d", p.Finished+p.Diverged, p.Runs)}
		if p.Diverged > 0 {
			row.Runs += fmt.Sprintf(", %d diverged", p.Diverged)
		}
		for _, q := range filled {
			row.Cells = append(row.Cells, estimateCell(q, q.of(p)))
		}
		rows = append(rows, row)
	}
	return columns, teacher, rows
}

// text is a value of the quantity.
func (q quantity) text(v float64) string {
	if !isNumber(v) {
		return none
	}
	if q.percent {
		return percent(&v)
	}
	return chart.Plain(v)
}

func estimateCell(q quantity, e *study.Estimate) numberCell {
	c := numberCell{Label: q.name, Mean: none}
	if e == nil {
		return c
	}
	c.Mean, c.N = q.text(e.Mean), e.N
	bounded := e.Low != nil && e.High != nil && isNumber(*e.Low) && isNumber(*e.High)
	switch {
	case bounded && q.percent:
		c.Range = fmt.Sprintf("%.2f to %.2f", 100**e.Low, 100**e.High)
	case bounded:
		c.Range = chart.Plain(*e.Low) + " to " + chart.Plain(*e.High)
	default:
		c.Range = "no interval"
	}
	return c
}

// imagesNote says of how many images the gradient norms are.
func (w *studyReport) imagesNote() string {
	for _, o := range w.Outcomes {
		if o.GradientNormImages > 0 {
			text := fmt.Sprintf("The students' gradient norm is over %d training images", o.GradientNormImages)
			if w.Teacher != nil && w.Teacher.GradientNormImages > 0 {
				text += fmt.Sprintf(", the teacher's over %d", w.Teacher.GradientNormImages)
			}
			return text + "."
		}
	}
	return ""
}
