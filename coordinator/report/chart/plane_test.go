package chart

import (
	"encoding/xml"
	"math"
	"strconv"
	"strings"
	"testing"
)

// TestFew: two to five ticks whatever the scale, each labelled with the number at which it is.
func TestFew(t *testing.T) {
	for _, c := range [][2]float64{{0.9, 1.11}, {0.9413, 1.0722}, {-3, 4}, {0.99999, 1.00001}, {0, 1000}, {2, 2.9}, {1e-4, 1e-3}, {-0.4, 0.4}} {
		ticks := few{}.Ticks(c[0], c[1])
		if len(ticks) < 2 || len(ticks) > 5 {
			t.Errorf("%v: %d ticks", c, len(ticks))
		}
		for _, tick := range ticks {
			v, err := strconv.ParseFloat(tick.Label, 64)
			if err != nil || math.Abs(v-tick.Value) > 1e-9*math.Max(1, math.Abs(v)) || tick.Value < c[0] || tick.Value > c[1] {
				t.Errorf("%v: the tick at %v says %q", c, tick.Value, tick.Label)
			}
		}
	}
	if n := len(few{}.Ticks(3, 3)); n != 1 {
		t.Errorf("%d ticks of nothing", n)
	}
}

func TestTitled(t *testing.T) {
	p := NewPlane("a")
	p.See(Around(1, 1, 0.1))
	p.Add(NewDensity([]float64{1, 1, 1.05, 1.01}, 2, Around(1, 1, 0.1), 10))
	f, err := Planes("f", "F", "what is <seen>", 4, []*Plane{p}, []Key{{Name: "patch", Patch: Blue}})
	if err != nil {
		t.Fatal(err)
	}
	var svg struct {
		Title string `xml:"title"`
	}
	if err := xml.Unmarshal(f.Titled(), &svg); err != nil || svg.Title != "what is <seen>" {
		t.Errorf("%q, %v", svg.Title, err)
	}
	if swatch := Swatch(Key{Patch: Blue}); !strings.Contains(swatch, "<path") || !strings.HasSuffix(strings.TrimSpace(swatch), "</svg>") {
		t.Errorf("a swatch is %s", swatch)
	}
}
