package chart

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
)

// Axis is what an axis of a panel says.
type Axis struct {
	Name       string
	Log        bool      // logarithmic, with ticks at 1, 2 and 5 times powers of ten; values <= 0 have no place on it
	Base2      bool      // logarithmic, with ticks at powers of two
	Percent    bool      // its values are fractions
	Categories []string  // places 0, 1, ... have names in place of numbers
	Holds      []float64 // values that the axis has room for, whether anything is drawn there or not
}

func (a *Axis) logarithmic() bool { return a.Log || a.Base2 }

// has tells whether v has a place on the axis.
func (a *Axis) has(v float64) bool { return finite(v) && (!a.logarithmic() || v > 0) }

// apply makes p an axis from low to high, which has room for so many labels.
func (a *Axis) apply(p *plot.Axis, low, high float64, labels int) {
	p.Min, p.Max = low, high
	switch {
	case a.Categories != nil:
		p.Tick.Marker = categories(a.Categories)
		p.Tick.Length = 0
	case a.Base2:
		p.Scale, p.Tick.Marker = plot.LogScale{}, octaves{labels}
	case a.Log:
		p.Scale, p.Tick.Marker = plot.LogScale{}, decades{labels}
	default:
		p.Tick.Marker = steps{a.Percent, labels}
	}
}

// padded is a range with some room at its ends, so that no mark lies on the frame.
func (a *Axis) padded(low, high float64) (float64, float64) {
	const room = 0.04
	switch {
	case a.Categories != nil:
		return -0.5, float64(len(a.Categories)) - 0.5
	case a.logarithmic():
		ratio := max(high/low, 1.3)
		middle := math.Sqrt(low) * math.Sqrt(high)
		half := math.Pow(ratio, 0.5+room)
		return middle / half, middle * half
	}
	width := high - low
	if width == 0 {
		width = max(math.Abs(high)/5, 1e-3)
		low, high = low-width/2, high+width/2
	}
	return low - room*width, high + room*width
}

// steps are ticks of a linear axis at multiples of 1, 2 or 5 times a power of ten, with as many digits as tell them apart.
type steps struct {
	percent bool
	most    int
}

func (s steps) Ticks(low, high float64) (out []plot.Tick) {
	factor, unit := 1.0, ""
	if s.percent {
		factor, unit = 100, "\u00a0%"
	}
	low, high = low*factor, high*factor
	step := s.step(high - low)
	digits := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	for k := math.Ceil(low/step-1e-9) + 0; k*step <= high+1e-9*step; k++ { // + 0: no -0
		label := grouped(strconv.FormatFloat(k*step, 'f', digits, 64))
		if math.Abs(high) >= 1e7 {
			label = Plain(k * step)
		}
		out = append(out, plot.Tick{Value: k * step / factor, Label: label + unit})
	}
	return out
}

// step is the smallest that gives no more than the ticks asked for.
func (s steps) step(width float64) float64 {
	for e := math.Floor(math.Log10(width)) - 2; ; e++ {
		for _, k := range []float64{1, 2, 5} {
			if step := k * math.Pow(10, e); width/step <= float64(s.most) {
				return step
			}
		}
	}
}

// decades are ticks of a logarithmic axis: of 1, 2 and 5 times powers of ten as many as there is room for; the rest are minor.
type decades struct{ most int }

func (d decades) Ticks(low, high float64) (out []plot.Tick) {
	for _, named := range [][]float64{{1, 2, 3, 4, 5, 6, 8}, {1, 2, 5}, {1, 3}, {1}} {
		if out = tens(low, high, named, 1); labelled(out) <= d.most {
			return out
		}
	}
	for every := 2; labelled(out) > d.most; every++ {
		out = tens(low, high, []float64{1}, every)
	}
	return slices.DeleteFunc(out, func(t plot.Tick) bool { // a tick at every power of ten is enough
		e := math.Log10(t.Value)
		return math.Abs(e-math.Round(e)) > 1e-9
	})
}

// tens are ticks at k 10^e for k of 1 to 9, with a label where named has k and e is a multiple of every.
func tens(low, high float64, named []float64, every int) (out []plot.Tick) {
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for k := 1.0; k <= 9; k++ {
			v := k * math.Pow(10, e)
			if v < low || v > high {
				continue
			}
			t := plot.Tick{Value: v}
			for _, n := range named {
				if n == k && int(e)%every == 0 {
					t.Label = Plain(v)
				}
			}
			out = append(out, t)
		}
	}
	return out
}

// octaves are ticks at powers of two.
type octaves struct{ most int }

func (o octaves) Ticks(low, high float64) (out []plot.Tick) {
	for every := 1; ; every++ {
		out = nil
		for e := math.Ceil(math.Log2(low)); e <= math.Floor(math.Log2(high)); e++ {
			t := plot.Tick{Value: math.Exp2(e)}
			if int(e)%every == 0 {
				t.Label = Plain(t.Value)
			}
			out = append(out, t)
		}
		if labelled(out) <= o.most {
			return out
		}
	}
}

func labelled(ticks []plot.Tick) (n int) {
	for _, t := range ticks {
		if t.Label != "" {
			n++
		}
	}
	return n
}

// categories are the names of places 0, 1, ...
type categories []string

func (c categories) Ticks(low, high float64) (out []plot.Tick) {
	for i, name := range c {
		out = append(out, plot.Tick{Value: float64(i), Label: name})
	}
	return out
}

// Plain is a number of a tick or a caption in plain digits, four that count, thousands apart; as a power of ten where that would be long.
func Plain(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 0:
		return "−" + Plain(-v)
	}
	e := math.Floor(math.Log10(v) + 1e-12)
	if e >= 7 || e < -4 {
		k := strconv.FormatFloat(v/math.Pow(10, e), 'f', 3, 64)
		k = strings.TrimRight(strings.TrimRight(k, "0"), ".")
		power := "10" + strings.Map(superscript, strconv.Itoa(int(e)))
		if k == "1" {
			return power
		}
		return k + "×" + power
	}
	text := strconv.FormatFloat(v, 'f', max(0, 3-int(e)), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return grouped(text)
}

func superscript(r rune) rune {
	switch r {
	case '-':
		return '⁻'
	case '1':
		return '¹'
	case '2':
		return '²'
	case '3':
		return '³'
	}
	return '⁰' + r - '0'
}

// grouped puts commas between the thousands of a number of five digits or more.
func grouped(text string) string {
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "−", text[1:]
	}
	whole, rest, point := strings.Cut(text, ".")
	if point {
		rest = "." + rest
	}
	if len(whole) > 4 {
		for i := len(whole) - 3; i > 0; i -= 3 {
			whole = fmt.Sprint(whole[:i], ",", whole[i:])
		}
	}
	return sign + whole + rest
}
