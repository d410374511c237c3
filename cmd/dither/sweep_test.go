package main

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dither-ml/dither/coordinator/study"
	"github.com/dither-ml/dither/noise"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// TestScalesAreThoseOfTheFiguresWhenTyped: what a person types for the paper's scales is what there is by default.
func TestScalesAreThoseOfTheFiguresWhenTyped(t *testing.T) {
	f := &sweepFlags{design: ditherv1.DesignScales}
	want, err := f.scales()
	if err != nil {
		t.Fatal(err)
	}
	f.noises = []string{"gaussian:sigma2=1..10,0.1,0.5", "symmetric:p=0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1", "none"}
	got, err := f.scales()
	if err != nil {
		t.Fatal(err)
	}
	if a, b := formats(got), formats(want); !slices.Equal(a, b) {
		t.Fatalf("typed:   %q\ndefault: %q", a, b)
	}
}

func formats(noises []*ditherv1.NoiseSpec) (out []string) {
	for _, n := range noises {
		out = append(out, noise.Format(n, ""))
	}
	return out
}

// TestPartsAreTheWhole: every run is of exactly one part, and the phases of a setting stay together.
func TestPartsAreTheWhole(t *testing.T) {
	for _, validation := range []float64{0, 0.2} {
		for of := 1; of <= 5; of++ {
			whose := make([]int, 24)
			for index := range of {
				s := &sweep{spec: &ditherv1.StudySpec{Validation: validation}, part: part{index, of}, outcomes: make([]study.Outcome, len(whose))}
				for _, i := range s.pending() {
					whose[i] += index + 1 + 100 // 100 for each part that has it
				}
			}
			for i, w := range whose {
				if w/100 != 1 {
					t.Fatalf("validation %v: run %d is of %d of %d parts", validation, i, w/100, of)
				}
				if validation > 0 && w != whose[i&^1] {
					t.Fatalf("the phases of run %d are of different parts", i)
				}
			}
		}
	}
}

// TestBacklogComesBackToWhatWasPutOff: nothing is waited for while there is something to do.
func TestBacklogComesBackToWhatWasPutOff(t *testing.T) {
	b := &backlog{first: []int{0, 1, 2}}
	var order []string
	for {
		i, patient, ok := b.next()
		if !ok {
			break
		}
		order = append(order, fmt.Sprint(i, patient))
		if i == 1 && !patient {
			b.putOff(i)
		}
	}
	if want := []string{"0 false", "1 false", "2 false", "1 true"}; !slices.Equal(order, want) {
		t.Fatalf("order %q, want %q", order, want)
	}
}
