package study

import (
	"fmt"
	"math"
)

// Purposes of random numbers: each claim has its own, so that one more claim changes no other.
const (
	purposeScales = 1000 * (1 + iota)
	purposeBatches
	purposeLabelNoise
)

// claimsOfScales are the paper's: noise lowers the gradient norm, the more the larger it is, and the student tests better.
func (s *Summary) claimsOfScales() []Claim {
	var out []Claim
	noiseless := -1
	if arms := s.armsOf("none"); len(arms) > 0 {
		noiseless = arms[0]
	}
	for i, noise := range s.noises() {
		if noise == "none" {
			continue
		}
		arms := s.armsOf(noise)
		x := scaleName(s.Spec.GetArms()[arms[0]].GetNoise())
		out = append(out, s.trendClaim(fmt.Sprintf("The gradient norm falls as %s of %s noise grows", x, noise), x, arms,
			func(arm int) float64 { return s.Points[arm].Scale }, below, purposeScales+uint64(i), ""))
		if largest := s.largest(arms); largest >= 0 && noiseless >= 0 {
			name := s.Points[largest].Name
			out = append(out, s.paired(fmt.Sprintf("With %s, the largest scale that trained, the gradient norm is below that of noiseless distillation", name),
				fmt.Sprintf("gradient norm of %s over that of noiseless distillation", name),
				s.values(noiseless, Refit, gradientNorm), s.values(largest, Refit, gradientNorm), true, below, s.lost([]int{noiseless, largest})))
		}
	}
	for _, noise := range s.noises() {
		out = append(out, s.claimsOfChoice(noise, noiseless)...)
	}
	return out
}

// largest is the arm of the largest scale that has gradient norms; -1: none.
func (s *Summary) largest(arms []int) int {
	best := -1
	for _, arm := range arms {
		if s.Points[arm].GradientNorm != nil && (best < 0 || s.Points[arm].Scale > s.Points[best].Scale) {
			best = arm
		}
	}
	return best
}

// claimsOfChoice compare the arm of a noise that was chosen on held-out images with noiseless distillation and with the teacher.
func (s *Summary) claimsOfChoice(noise string, noiseless int) []Claim {
	who := "Noiseless distillation"
	if noise != "none" {
		who = fmt.Sprintf("The student of %s noise, its scale chosen on held-out images,", noise)
	}
	chosen := -1
	for _, c := range s.Choices {
		if c.Noise == noise {
			chosen = c.Arm
		}
	}
	if noise == "none" {
		chosen = noiseless // there is nothing to choose
	}
	if chosen < 0 {
		return []Claim{{Text: who + " tests better than noiseless distillation", Verdict: NotShown, Measure: "difference of test accuracies",
			Why: "no run with held-out images is finished, and without them nothing is chosen"}}
	}
	var out []Claim
	lost := s.lost([]int{chosen})
	if noise != "none" {
		lost = fmt.Sprintf("; chosen is %s%s", s.Points[chosen].Name, lost)
	}
	if noise != "none" && noiseless >= 0 {
		out = append(out, s.paired(who+" tests better than noiseless distillation", "test accuracy less that of noiseless distillation",
			s.values(noiseless, Refit, testAccuracy), s.values(chosen, Refit, testAccuracy), false, above, lost))
	}
	t := s.Teacher
	if t == nil {
		return out
	}
	if t.TestAccuracy != nil {
		out = append(out, against(who+" tests better than the teacher", "test accuracy less the teacher's", *t.TestAccuracy, s.values(chosen, Refit, testAccuracy), false, above, lost))
	}
	if t.GradientNorm != nil {
		text, measured := who+" has a gradient norm below the teacher's", "gradient norm over the teacher's"
		values := s.values(chosen, Refit, gradientNorm)
		if images := s.normImages(chosen); len(values) > 0 && images != t.GradientNormImages {
			out = append(out, Claim{Text: text, Verdict: NotShown, Measure: measured,
				Why: fmt.Sprintf("the students' gradient norms are over %d images and the teacher's over %d, so they do not compare", images, t.GradientNormImages)})
		} else {
			out = append(out, against(text, measured, *t.GradientNorm, values, true, below, lost))
		}
	}
	return out
}

// normImages is over how many images the gradient norms of an arm are.
func (s *Summary) normImages(arm int) int {
	for _, o := range s.Outcomes {
		if o.Arm == arm && o.GradientNorm != nil {
			return o.GradientNormImages
		}
	}
	return 0
}

// alike are the arms of each noise with its scale, in the order of the arms.
func (s *Summary) alike() (names []string, arms map[string][]int) {
	arms = map[string][]int{}
	for i, a := range s.Spec.GetArms() {
		name := noiseName(a.GetNoise())
		if arms[name] == nil {
			names = append(names, name)
		}
		arms[name] = append(arms[name], i)
	}
	return names, arms
}

func (s *Summary) etaOverB(arm int) float64 {
	return s.Spec.GetArms()[arm].GetLr() / float64(s.Spec.GetArms()[arm].GetBatch())
}

// claimsOfBatches: the variance of the stochastic gradient, times eta, falls with B unless eta grows with it, and with it the pressure on the gradient norm.
func (s *Summary) claimsOfBatches() []Claim {
	var out []Claim
	names, groups := s.alike()
	for i, name := range names {
		arms := groups[name]
		theory := "; theory expects no trend here, for eta/B is the same for every B"
		for _, arm := range arms {
			if first := s.etaOverB(arms[0]); math.Abs(s.etaOverB(arm)-first) > 1e-9*first {
				theory = "; theory expects it, for eta/B falls as B grows"
			}
		}
		out = append(out, s.trendClaim(fmt.Sprintf("The gradient norm rises with the batch size (%s)", name), "batch size", arms,
			func(arm int) float64 { return float64(s.Points[arm].Batch) }, above, purposeBatches+uint64(i), theory))
	}
	return out
}

func (s *Summary) claimsOfEtaOverB() []Claim {
	var out []Claim
	names, groups := s.alike()
	for _, name := range names {
		fixed := fmt.Sprintf("eta/B, the noise (%s) and eta K are fixed while eta and B vary", name)
		theory := "by Eqs. 15 and 16 it should, for every part of the stochastic gradient's variance goes by eta/B"
		out = append(out, s.coincidences(fixed, groups[name], theory, theory)...)
	}
	return out
}

func (s *Summary) claimsOfLabelNoise() []Claim {
	arms := make([]int, len(s.Points))
	for i := range arms {
		arms[i] = i
	}
	fixed := "eta sigma2/B and eta K are fixed while eta/B varies"
	theory := "theory has only the label noise's part of the variance equal, eta sigma2 G/B; the part of the sampling goes by eta/B and is not, so it coincides only where label noise prevails"
	loss := "theory has it equal only where the network's own error does not matter: that part of the variance goes by eta/B"
	out := s.coincidences(fixed, arms, theory, loss)
	return append(out, s.trendClaim("The gradient norm falls as eta/B grows, though eta sigma2/B is fixed", "eta/B", arms, s.etaOverB, below, purposeLabelNoise,
		"; it is the part of the sampling that would lower it, which grows with eta/B"))
}

// coincidences are the claims that gradient norm, test accuracy and training loss are the same for arms.
func (s *Summary) coincidences(fixed string, arms []int, theory, ofLoss string) []Claim {
	over := func(m measure) func(int) []value { return func(arm int) []value { return s.values(arm, Refit, m) } }
	loss := "training loss of the last epoch"
	for _, arm := range arms {
		if s.noiseInLoss(arm) > 0 {
			loss = "training loss of the last epoch, less what the noise itself has of it (classes sigma2/2),"
		}
	}
	excess := func(arm int) []value {
		values := s.values(arm, Refit, trainingLoss)
		for i := range values {
			values[i].v -= s.noiseInLoss(arm)
		}
		return values
	}
	return []Claim{
		s.coincide("gradient norm", fixed, arms, over(gradientNorm), true, theory),
		s.coincide("test accuracy", fixed, arms, over(testAccuracy), false, theory),
		s.coincide(loss, fixed, arms, excess, true, ofLoss),
	}
}

// noiseInLoss is what Gaussian noise that is new at every iteration adds to the expected loss whatever the network does: 1/2 E||eps||^2 = classes sigma2/2 of the quadratic loss. It would drown a
// difference where sigma2 is fixed, and make one where it varies. 0 for any other noise, of which it depends on the labels.
func (s *Summary) noiseInLoss(arm int) float64 {
	n, b := s.Spec.GetArms()[arm].GetNoise(), s.Spec.GetBase()
	if n.GetKind() != "gaussian" || n.GetRefresh() != "iteration" {
		return 0
	}
	return b.GetLoss().GetQuadratic() * float64(b.GetDataset().GetClasses()) * scale(n) / 2
}
