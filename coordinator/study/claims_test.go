package study

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// numbersOf is what is invented of a run: it depends on the arm and on the seed.
type numbersOf struct{ norm, validation, test, loss float64 }

// invent are the outcomes of a study in which every run is finished, with numbers by f. wobble is -1, 0 and 1 in the three seeds, in an order that differs between arms.
func invent(t testing.TB, s *ditherv1.StudySpec, f func(a *ditherv1.Arm, wobble float64) numbersOf) []Outcome {
	t.Helper()
	runs, err := Plan(s, digitImages)
	must(t, err)
	var out []Outcome
	for _, r := range runs {
		n := f(s.Arms[r.Arm], float64((r.Arm+int(r.Seed))%3-1))
		o := Outcome{Run: r, State: Finished, TrainingLoss: &n.loss, ParametersSHA256: "dd", ImagesPerSecond: 1000}
		if r.Phase == Select {
			o.ValidationAccuracy = &n.validation
		} else {
			o.GradientNorm, o.GradientNormImages, o.TestAccuracy, o.TestLoss = &n.norm, r.GradientNormImages, &n.test, pointer(1-n.test)
		}
		out = append(out, o)
	}
	return out
}

func sigma2(a *ditherv1.Arm) float64 { return a.GetNoise().GetParameters()["sigma2"] }

func scales(t testing.TB) *ditherv1.StudySpec {
	return digits(ditherv1.DesignScales, Scales([]*ditherv1.NoiseSpec{NoNoise(), Gaussian(1), Gaussian(4), Gaussian(9)}, 64, 0.02))
}

// paper is a study in which all that the paper says is so: sigma2 = 4 is best.
func paper(a *ditherv1.Arm, wobble float64) numbersOf {
	v := sigma2(a)
	good := 0.9 - 0.004*math.Abs(v-4) + 0.001*wobble
	return numbersOf{norm: 7000/(1+v/5) + 50*wobble, validation: good, test: good - 0.01, loss: 20 + v}
}

// claim finds the claim whose text has all of the words.
func claim(t *testing.T, s *Summary, words string) Claim {
	t.Helper()
	for _, c := range s.Claims {
		if strings.Contains(c.Text, words) {
			return c
		}
	}
	t.Fatalf("no claim has %q: %+v", words, s.Claims)
	return Claim{}
}

func expect(t *testing.T, c Claim, want Verdict, why string) {
	t.Helper()
	if c.Verdict != want || !strings.Contains(c.Why, why) {
		t.Errorf("%q is %s, %v in [%v, %v] (%s); not %s because %q", c.Text, c.Verdict, show(c.Value), show(c.Low), show(c.High), c.Why, want, why)
	}
	if c.Low != nil && !(*c.Low <= *c.Value && *c.Value <= *c.High) && !strings.HasPrefix(c.Measure, "Spearman") {
		t.Errorf("%q has %v outside of its interval [%v, %v]", c.Text, *c.Value, *c.Low, *c.High)
	}
}

func show(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprint(*v)
}

func TestClaimsOfScales(t *testing.T) {
	teacher := &Teacher{TestAccuracy: pointer(0.87), GradientNorm: pointer(130000.0), GradientNormImages: 1000}
	spec := scales(t)
	s := Summarise(spec, teacher, invent(t, spec, paper))
	for _, words := range []string{"falls as sigma2 of gaussian", "With gaussian sigma2=9, the largest scale", "gaussian noise, its scale chosen on held-out images, tests better than noiseless",
		"tests better than the teacher", "gaussian noise, its scale chosen on held-out images, has a gradient norm below", "Noiseless distillation has a gradient norm below"} {
		expect(t, claim(t, s, words), Shown, "the interval lies")
	}
	if len(s.Choices) != 2 || s.Choices[1].Arm != 2 || s.Choices[0].Noise != "none" || s.Choices[0].Arm != 0 {
		t.Errorf("chosen are %+v", s.Choices)
	}
	norm := func(v float64) float64 { return 7000 / (1 + v/5) }
	mean := func(m float64) float64 { return (math.Log(m-50) + math.Log(m) + math.Log(m+50)) / 3 }
	near(t, "the ratio of norms", *claim(t, s, "With gaussian sigma2=9").Value, math.Exp(mean(norm(9))-mean(norm(0))))

	against := Summarise(spec, &Teacher{TestAccuracy: pointer(0.95), GradientNorm: pointer(100.0), GradientNormImages: 1000}, invent(t, spec, func(a *ditherv1.Arm, w float64) numbersOf {
		n := paper(a, w)
		n.norm = 3000*(1+sigma2(a)) + 50*w
		n.test = 0.9 - 0.01*sigma2(a) + 0.001*w
		return n
	}))
	for _, c := range against.Claims {
		expect(t, c, Contradicted, "the interval lies")
	}

	nothing := Summarise(spec, &Teacher{TestAccuracy: pointer(0.85), GradientNorm: pointer(1000.0), GradientNormImages: 1000}, invent(t, spec, func(a *ditherv1.Arm, w float64) numbersOf {
		return numbersOf{norm: 1000 + 500*w, validation: 0.8 + 0.01*w, test: 0.85 + 0.05*w, loss: 1}
	}))
	for _, c := range nothing.Claims {
		expect(t, c, NotShown, "the interval holds")
	}
}

func TestWithOneSeedNothingIsShown(t *testing.T) {
	spec := scales(t)
	spec.Seeds = []uint64{1}
	if !errors.Is(CheckSeeds(spec), ErrSeeds) {
		t.Error("one seed is enough")
	}
	s := Summarise(spec, &Teacher{TestAccuracy: pointer(0.87), GradientNorm: pointer(130000.0), GradientNormImages: 1000}, invent(t, spec, paper))
	if len(s.Claims) < 6 {
		t.Errorf("%d claims", len(s.Claims))
	}
	for _, c := range s.Claims {
		expect(t, c, NotShown, "one seed gives no interval")
		if c.Value == nil || c.Low != nil || c.High != nil {
			t.Errorf("%q has %v in [%v, %v]", c.Text, c.Value, c.Low, c.High)
		}
	}
	if p := s.Points[1]; p.GradientNorm.N != 1 || p.GradientNorm.Low != nil {
		t.Errorf("a point of one seed is %+v", p.GradientNorm)
	}
	arms, err := EtaOverB([]*ditherv1.NoiseSpec{Gaussian(4)}, []uint32{32, 64}, 64, 0.02)
	must(t, err)
	spec = digits(ditherv1.DesignEtaOverB, arms)
	spec.Seeds = []uint64{1}
	for _, c := range Summarise(spec, nil, invent(t, spec, same)).Claims {
		expect(t, c, NotShown, "one seed gives no interval")
	}
}

func TestClaimsOfNothing(t *testing.T) {
	spec := scales(t)
	outcomes := invent(t, spec, paper)
	for i := range outcomes {
		outcomes[i] = Outcome{Run: outcomes[i].Run, State: Missing}
	}
	s := Summarise(spec, nil, outcomes)
	for _, c := range s.Claims {
		if c.Verdict != NotShown || c.Why == "" || c.Value != nil {
			t.Errorf("of nothing it is said: %+v", c)
		}
	}
	if len(s.Choices) != 0 || s.Finished != 0 || s.Runs != 24 || s.Points[3].Name != "gaussian sigma2=9" || s.Points[3].Iterations != 88 {
		t.Errorf("the summary of nothing is %+v", s)
	}
}

// The arm that wins on the held-out images is not the one that wins on the test images, nor one that has lost a seed; ties go to the smaller scale.
func TestChoices(t *testing.T) {
	spec := scales(t)
	validation := map[float64]float64{0: 0.5, 1: 0.7, 4: 0.7, 9: 0.9}
	outcomes := invent(t, spec, func(a *ditherv1.Arm, w float64) numbersOf {
		return numbersOf{norm: 1, validation: validation[sigma2(a)], test: 0.9 - validation[sigma2(a)]/2, loss: 1}
	})
	if s := Summarise(spec, nil, outcomes); s.Choices[1].Arm != 3 {
		t.Errorf("chosen is %+v", s.Choices[1])
	}
	i := slices.IndexFunc(outcomes, func(o Outcome) bool { return o.Arm == 3 && o.Phase == Select })
	outcomes[i] = Outcome{Run: outcomes[i].Run, State: Diverged}
	s := Summarise(spec, nil, outcomes)
	if s.Choices[1].Arm != 1 || s.Points[3].Diverged != 1 || s.Diverged != 1 {
		t.Errorf("with one run of the best diverged, chosen is %+v", s.Choices[1])
	}
	if c := claim(t, s, "With gaussian sigma2=9"); !strings.Contains(c.Why, "1 run of these arms diverged and is not in it") {
		t.Errorf("a diverged run is not spoken of: %s", c.Why)
	}
	// Test numbers have no part in it, whatever they are.
	for i := range outcomes {
		if outcomes[i].Phase == Refit {
			outcomes[i].TestAccuracy = pointer(float64(outcomes[i].Arm))
		}
	}
	if again := Summarise(spec, nil, outcomes); again.Choices[1].Arm != 1 {
		t.Error("the choice follows the test accuracy")
	}
}

func TestNormsOverOtherImagesDoNotCompare(t *testing.T) {
	spec := scales(t)
	s := Summarise(spec, &Teacher{GradientNorm: pointer(130000.0), GradientNormImages: 64}, invent(t, spec, paper))
	expect(t, claim(t, s, "has a gradient norm below"), NotShown, "over 1000 images and the teacher's over 64")
}

func same(a *ditherv1.Arm, w float64) numbersOf {
	return numbersOf{norm: 5000 * (1 + 0.005*w), validation: 0.9, test: 0.9 + 0.001*w, loss: 5*sigma2(a) + 2*(1+0.005*w)}
}

func TestCoincidences(t *testing.T) {
	arms, err := EtaOverB([]*ditherv1.NoiseSpec{Gaussian(4)}, []uint32{32, 64, 128}, 64, 0.02)
	must(t, err)
	spec := digits(ditherv1.DesignEtaOverB, arms)
	verdicts := func(f func(*ditherv1.Arm, float64) numbersOf, want Verdict, why string) {
		t.Helper()
		s := Summarise(spec, nil, invent(t, spec, f))
		if len(s.Claims) != 3 {
			t.Fatalf("%d claims", len(s.Claims))
		}
		for _, c := range s.Claims {
			expect(t, c, want, why)
		}
	}
	verdicts(same, Shown, "the intervals of all 3 pairs lie within")
	verdicts(func(a *ditherv1.Arm, w float64) numbersOf {
		n, far := same(a, w), 0.0
		if a.Batch == 128 {
			far = 1
		}
		// The network's own part of the loss doubles, which is less than 10 % of all of it.
		return numbersOf{norm: n.norm * (1 + 0.3*far), test: n.test - 0.1*far, loss: n.loss + 2*far}
	}, Contradicted, "batch 128, lr 0.04 against gaussian sigma2=4, batch")
	verdicts(func(a *ditherv1.Arm, w float64) numbersOf {
		return numbersOf{norm: 5000 * (1 + 0.5*w), test: 0.8 + 0.1*w, loss: 20 + 2*(1+0.5*w)}
	}, NotShown, "more seeds would tell")

	// What there is may coincide; arms that have no run yet are not known to.
	outcomes := invent(t, spec, same)
	for i := range outcomes {
		if outcomes[i].Arm == 2 {
			outcomes[i] = Outcome{Run: outcomes[i].Run, State: Partial}
		}
	}
	expect(t, claim(t, Summarise(spec, nil, outcomes), "The gradient norm coincides"), NotShown, "1 of 3 arms have no finished run")
	// A loss below the noise's own part has no logarithm.
	s := Summarise(spec, nil, invent(t, spec, func(a *ditherv1.Arm, w float64) numbersOf {
		n := same(a, w)
		n.loss = 19
		return n
	}))
	expect(t, s.Claims[2], NotShown, "there is no logarithm")
}

func TestClaimsOfLabelNoise(t *testing.T) {
	arms, err := LabelNoise(Gaussian(4), []float64{0.5, 1, 2}, 64, 0.02)
	must(t, err)
	spec := digits(ditherv1.DesignLabelNoise, arms)
	// The part of the noise prevails: all coincides, and the training loss without the noise's own part does too.
	s := Summarise(spec, nil, invent(t, spec, same))
	for _, c := range s.Claims[:3] {
		expect(t, c, Shown, "only")
	}
	expect(t, s.Claims[3], NotShown, "the interval holds 0")
	// The part of the sampling prevails.
	s = Summarise(spec, nil, invent(t, spec, func(a *ditherv1.Arm, w float64) numbersOf {
		n := same(a, w)
		n.norm /= a.Lr
		return n
	}))
	expect(t, s.Claims[0], Contradicted, "2 times as long lies outside of +-10 %")
	expect(t, s.Claims[3], Shown, "grows with eta/B")
}

func TestClaimsOfBatches(t *testing.T) {
	for rule, theory := range map[string]string{Constant: "theory expects it", Linear: "theory expects no trend"} {
		arms, err := Batches([]*ditherv1.NoiseSpec{NoNoise(), Gaussian(4)}, []uint32{32, 64, 128}, 64, 0.02, rule)
		must(t, err)
		spec := digits(ditherv1.DesignBatches, arms)
		s := Summarise(spec, nil, invent(t, spec, func(a *ditherv1.Arm, w float64) numbersOf {
			return numbersOf{norm: float64(a.Batch) * (1 + 0.01*w), test: 0.9, loss: 30}
		}))
		if len(s.Claims) != 2 {
			t.Fatalf("%d claims of two noises", len(s.Claims))
		}
		for _, c := range s.Claims {
			expect(t, c, Shown, theory)
		}
	}
}
