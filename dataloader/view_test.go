package dataloader

import "testing"

// Chi-square of the 162 views over 81,000 draws: 161 degrees of freedom, so above 231 with a chance of 0.0002; the seed is fixed.
func TestViewsAreUniform(t *testing.T) {
	counts := map[Geometry]int{}
	const each = 500
	for epoch := range uint32(9) {
		for sample := range uint32(9 * 2 * each) {
			counts[View(1, epoch, sample, true, true, 4)]++
		}
	}
	if len(counts) != 162 {
		t.Fatalf("%d views, want 162", len(counts))
	}
	var chi2 float64
	for g, n := range counts {
		if g.DY < 0 || g.DY > 8 || g.DX < 0 || g.DX > 8 || g.Flip>>1 != 0 {
			t.Fatalf("view %v out of range", g)
		}
		d := float64(n - each)
		chi2 += float64(d*d) / each
	}
	if chi2 > 231 {
		t.Errorf("chi-square %.1f with 161 degrees of freedom", chi2)
	}
}

func TestViewWithout(t *testing.T) {
	for sample := range uint32(100) {
		if got, want := View(1, 2, sample, false, true, 4), (Geometry{4, 4, 0}); got != want {
			t.Fatalf("without augmentation: %v, want %v", got, want)
		}
		mirrored, plain := View(1, 2, sample, true, true, 4), View(1, 2, sample, true, false, 4)
		mirrored.Flip = 0
		if plain != mirrored {
			t.Fatalf("without mirroring: %v, want the same crop %v", plain, mirrored)
		}
		if got := View(1, 2, sample, true, true, 0); got.DY != 0 || got.DX != 0 {
			t.Fatalf("without padding: %v", got)
		}
	}
}
