package chart

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Value is a mean at a place, with its interval where there is one.
type Value struct {
	X, Y      float64
	Low, High *float64 // nil: there is no interval
	N         int      // numbers behind Y
}

// Datum is a number of a figure as its CSV and JSON hold it. What is no number is nil.
type Datum struct {
	Panel    string   `json:"panel"`
	Series   string   `json:"series"`
	X        *float64 `json:"x"` // nil for a level, which holds everywhere, and for a category
	Category string   `json:"category,omitempty"`
	Y        *float64 `json:"y"`
	Low      *float64 `json:"low"`
	High     *float64 `json:"high"`
	N        int      `json:"n"`
}

// CSV is the figure's numbers, a line each, with a header.
func (f *Figure) CSV() []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Write([]string{"panel", "series", "x", "y", "low", "high", "n"})
	for _, d := range f.Data {
		x := cell(d.X)
		if d.Category != "" {
			x = d.Category
		}
		w.Write([]string{d.Panel, d.Series, x, cell(d.Y), cell(d.Low), cell(d.High), strconv.Itoa(d.N)})
	}
	w.Flush() // a buffer takes everything
	return b.Bytes()
}

// JSON is the figure's numbers and words: {name, title, caption, data: [{panel, series, x, y, low, high, n}]}.
func (f *Figure) JSON() ([]byte, error) {
	data := f.Data
	if data == nil {
		data = []Datum{}
	}
	b, err := json.MarshalIndent(struct {
		Name    string  `json:"name"`
		Title   string  `json:"title"`
		Caption string  `json:"caption"`
		Data    []Datum `json:"data"`
	}{f.Name, f.Title, f.Caption, data}, "", " ")
	if err != nil {
		return nil, fmt.Errorf("the numbers of figure %s: %w", f.Name, err)
	}
	return append(b, '\n'), nil
}

func cell(p *float64) string {
	if p == nil {
		return ""
	}
	return strconv.FormatFloat(*p, 'g', -1, 64)
}

// number is v where it is one.
func number(v float64) *float64 {
	if !finite(v) {
		return nil
	}
	return &v
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// interval is the interval's ends, and whether there is one.
func (v Value) interval() (low, high float64, ok bool) {
	if v.Low == nil || v.High == nil || !finite(*v.Low) || !finite(*v.High) {
		return 0, 0, false
	}
	return *v.Low, *v.High, true
}

// datum is v as data; of an interval that is none, both ends are nil.
func (v Value) datum(panel, series string) Datum {
	d := Datum{Panel: panel, Series: series, X: number(v.X), Y: number(v.Y), N: v.N}
	if low, high, ok := v.interval(); ok {
		d.Low, d.High = &low, &high
	}
	return d
}
