package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot"
)

func TestPlain(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1: "1", 0.5: "0.5", 7393: "7393", 12345: "12,345", 1234567: "1,234,567", 2.533e7: "2.533×10⁷", 1e12: "10¹²", 0.0005051: "0.0005051", 0.00001: "10⁻⁵", -0.97: "−0.97", -2.5e-8: "−2.5×10⁻⁸", 0.1 + 0.2: "0.3",
		999.96: "1000",
	} {
		if got := Plain(v); got != want {
			t.Errorf("%v is %q, not %q", v, got, want)
		}
	}
}

// TestTicks: every axis has ticks with plain names, not more than there is room for and never none.
func TestTicks(t *testing.T) {
	names := func(ticks []plot.Tick) (out []string) {
		for _, k := range ticks {
			if k.Label != "" {
				out = append(out, k.Label)
			}
		}
		return out
	}
	for _, c := range []struct {
		ticker    plot.Ticker
		low, high float64
		want      string
	}{
		{steps{false, 6}, -0.3, 10.3, "0 2 4 6 8 10"},
		{steps{true, 6}, 0.9031, 0.9142, "90.4\u00a0% 90.6\u00a0% 90.8\u00a0% 91.0\u00a0% 91.2\u00a0% 91.4\u00a0%"},
		{steps{false, 6}, -2, 31000, "0 10,000 20,000 30,000"},
		{steps{false, 6}, 0, 5e7, "0 10⁷ 2×10⁷ 3×10⁷ 4×10⁷ 5×10⁷"},
		{decades{6}, 0.09, 12, "0.1 0.3 1 3 10"},
		{decades{6}, 1900, 8000, "2000 3000 4000 5000 6000 8000"},
		{decades{6}, 1e-9, 1e3, "10⁻⁸ 10⁻⁶ 0.0001 0.01 1 100"},
		{octaves{6}, 15, 270, "16 32 64 128 256"},
		{octaves{6}, 3, 4200, "4 16 64 256 1024 4096"},
	} {
		if got := strings.Join(names(c.ticker.Ticks(c.low, c.high)), " "); got != c.want {
			t.Errorf("%#v from %v to %v: %q, not %q", c.ticker, c.low, c.high, got, c.want)
		}
	}
	for e := -12.0; e < 12; e += 0.37 {
		for _, width := range []float64{1.31, 3, 10, 1e3, 1e9, 1e17} {
			low := math.Pow(10, e)
			for _, ticker := range []plot.Ticker{steps{false, 6}, decades{6}, octaves{6}} {
				n := len(names(ticker.Ticks(low, low*width)))
				_, power := ticker.(octaves)
				if n > 6 || n == 0 && !(power && width < 2) && width >= 2.1 {
					t.Errorf("%#v has %d names from %v to %v", ticker, n, low, low*width)
				}
			}
		}
	}
}

func bounded(x, y, half float64) Value {
	low, high := y-half, y+half
	return Value{X: x, Y: y, Low: &low, High: &high, N: 3}
}

// TestRanges: every mean is in the picture, also where an interval is far too wide for it, and that is said.
func TestRanges(t *testing.T) {
	p := &Panel{Title: "a", X: Axis{Name: "x"}, Y: Axis{Name: "y"}}
	p.Points("s", Looks[0], 0, []Value{bounded(1, 10, 1), bounded(2, 12, 1)})
	if _, _, low, high, _ := p.ranges(); p.cut() || low > 9 || high < 13 {
		t.Errorf("y from %v to %v does not hold what is there, or is said to", low, high)
	}
	p.Points("wide", Looks[1], 0, []Value{bounded(3, 11, 500)})
	if xlow, xhigh, low, high, _ := p.ranges(); !p.cut() || low < 7 || high > 16 || xlow > 1 || xhigh < 3 {
		t.Errorf("y from %v to %v, x from %v to %v, cut: %v", low, high, xlow, xhigh, p.cut())
	}
	f, err := (&Sheet{Name: "n", Title: "t", Caption: "Here.", Rows: [][]*Panel{{p}}}).Figure()
	if err != nil || !strings.Contains(f.Caption, "leaves the picture") {
		t.Errorf("the caption is %q (%v)", f.Caption, err)
	}

	p = &Panel{X: Axis{Log: true}, Y: Axis{Log: true}}
	p.Points("s", Looks[0], 0, []Value{bounded(1, 0.5, 0.1), {X: 0, Y: 3}, {X: 2, Y: -1}, {X: 3, Y: math.NaN()}, bounded(4, 2, 3)})
	xlow, xhigh, low, high, ok := p.ranges()
	if !ok || xlow <= 0 || low <= 0 || xhigh < 4 || xhigh > 6 || high < 2 || math.IsInf(high, 0) {
		t.Errorf("logarithmic: x from %v to %v, y from %v to %v", xlow, xhigh, low, high)
	}
}

// TestFigure: any mixture of marks makes whole SVGs, the same each time, with all numbers in the data and all names in the legend.
func TestFigure(t *testing.T) {
	draw := func() *Figure {
		numeric := &Panel{Title: "numbers", X: Axis{Name: "x", Base2: true}, Y: Axis{Name: "y", Percent: true}, Empty: "nothing"}
		offsets := Offsets(3)
		for i, name := range []string{"first", "second", "a third of the series, which has a long name"} {
			numeric.Points(name, Looks[i], offsets[i], []Value{bounded(16, 0.9, 0.01), bounded(32, 0.91, 0.01), {X: 64, Y: 0.92, N: 1}, {X: 128, Y: math.Inf(1)}})
		}
		numeric.Ring("chosen", Looks[5], offsets[1], bounded(32, 0.91, 0.01))
		numeric.Level("level", Looks[4], bounded(0, 0.905, 0.002))
		named := &Panel{Title: "names", X: Axis{Categories: []string{"one\nand", "two"}}, Y: Axis{Name: "y", Log: true}}
		named.Points("first", Looks[0], 0, []Value{bounded(0, 100, 1), bounded(1, 1000, 10)})
		curve := &Panel{Title: "curve & <band>", X: Axis{Name: "x"}, Y: Axis{Name: "y"}}
		curve.Curve("curve", Looks[3], []Value{bounded(0, 1, 0.1), bounded(1, 2, 0.1), bounded(2, 3, 0.2)})
		f, err := (&Sheet{Name: "f", Title: "t", Rows: [][]*Panel{{numeric, named}, {curve, {Title: "none", Empty: "nothing at all"}}}}).Figure()
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := draw()
	if len(f.Parts) != 4 || f.Columns != 2 || len(f.Data) != 3*4+1+2+3 {
		t.Errorf("%d parts in %d columns with %d numbers", len(f.Parts), f.Columns, len(f.Data))
	}
	var signs []string
	for _, s := range f.Legend {
		signs = append(signs, s.Name)
		whole(t, s.SVG)
	}
	if want := []string{"first", "second", "a third of the series, which has a long name", "chosen", "level", "curve"}; !slices.Equal(signs, want) {
		t.Errorf("the legend is %q", signs)
	}
	text := whole(t, f.SVG)
	for _, want := range append(signs, "numbers", "names", "curve & <band>", "nothing at all", "16", "90\u00a0%", "one", "and", "two") {
		if !slices.ContainsFunc(text, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("%q is not written in the picture: %q", want, text)
		}
	}
	for i, p := range draw().Parts {
		if !bytes.Equal(p.SVG, f.Parts[i].SVG) || p.Alt != f.Parts[i].Alt {
			t.Errorf("part %d is another the second time", i)
		}
		whole(t, p.SVG)
		if len(p.Alt) < 10 {
			t.Errorf("part %d is told as %q", i, p.Alt)
		}
	}
	if again := draw(); !bytes.Equal(again.SVG, f.SVG) || !bytes.Equal(again.CSV(), f.CSV()) {
		t.Error("the figure is another the second time")
	}
	for _, want := range []string{"numbers. y against x. ", "first: 90.00\u00a0% at 16 to 92.00\u00a0% at 64 (3 points)", "level: 90.50\u00a0%"} {
		if !strings.Contains(f.Parts[0].Alt, want) {
			t.Errorf("told as %q, without %q", f.Parts[0].Alt, want)
		}
	}
}

// TestLegendWraps: no line of a legend is wider than the figure, and every entry is in one.
func TestLegendWraps(t *testing.T) {
	var signs []mark
	for i := range 17 {
		signs = append(signs, mark{kind: curve, name: fmt.Sprintf("series number %d of the whole", i), values: []Value{{}}})
	}
	lines := wrapped(signs, panelWidth)
	n := 0
	style := newPlot("", "").X.Tick.Label
	for _, line := range lines {
		n += len(line)
		width := 4.0
		for _, m := range line {
			width += float64(signWidth+4+style.Width(m.name)) + 14
		}
		if width-14 > float64(panelWidth) {
			t.Errorf("a line is %v wide", width)
		}
	}
	if n != len(signs) || len(lines) < 9 {
		t.Errorf("%d entries in %d lines", n, len(lines))
	}
}

// whole is the text of an SVG that is XML to its end.
func whole(t *testing.T, svg []byte) (text []string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return text
		}
		if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
		if c, ok := token.(xml.CharData); ok {
			text = append(text, string(c))
		}
	}
}
