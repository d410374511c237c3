package ditherv1

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
)

// canonicalStudyVersion is the first line of a study's canonical text; a change of the format changes it.
const canonicalStudyVersion = "dither.v1.StudySpec/1"

// CanonicalStudy is the study's canonical text, by the rules of Canonical; the fields of a message in a list have the path list[i].field.
func CanonicalStudy(s *StudySpec) string {
	return canonical(canonicalStudyVersion, s.ProtoReflect())
}

// StudyHash is the sha256 of the canonical text, in hex: the identity of a study.
func StudyHash(s *StudySpec) string { return hexSHA256(CanonicalStudy(s)) }

// Designs of a study.
const (
	DesignScales     = "scales"
	DesignBatches    = "batches"
	DesignEtaOverB   = "eta-over-b"
	DesignLabelNoise = "label-noise"
)

// ValidateStudy says in one sentence the first thing that is wrong with a study; it wraps ErrSpec. A teacher that the study trains itself has no hash yet.
func ValidateStudy(s *StudySpec) error {
	for _, check := range []func(*StudySpec) error{validateQuestion, validateShared, validateSeeds, validateSchedule, validateArms, validateDesign} {
		if err := check(s); err != nil {
			return err
		}
	}
	return nil
}

func validateQuestion(s *StudySpec) error {
	switch s.GetDesign() {
	case DesignScales, DesignBatches, DesignEtaOverB, DesignLabelNoise:
	default:
		return bad("design", "%q; it is %s, %s, %s or %s", s.GetDesign(), DesignScales, DesignBatches, DesignEtaOverB, DesignLabelNoise)
	}
	if !(s.GetValidation() >= 0 && s.GetValidation() < 1) {
		return bad("validation", "%v; the fraction held out must lie in [0, 1)", s.GetValidation())
	}
	return nil
}

// validateShared refuses in base what arms, seeds, schedule and phases settle: it would say nothing, and yet give the study another hash.
func validateShared(s *StudySpec) error {
	b := s.GetBase()
	if b == nil {
		return bad("base", "unset; a study needs to know its data set, network, teacher and loss")
	}
	for _, f := range []struct {
		name string
		set  bool
		by   string
	}{
		{"noise", b.GetNoise() != nil, "each arm has its noise"},
		{"seed", b.GetSeed() != 0, "seeds has them"},
		{"iterations", b.GetIterations() != 0, "schedule.epochs gives the length"},
		{"optimizer.milestones", len(b.GetOptimizer().GetMilestones()) > 0, "schedule.milestones has them, as fractions of a run"},
		{"optimizer.warmup", b.GetOptimizer().GetWarmup() != 0, "schedule.warmup has it, in epochs"},
		{"dataset.validation", b.GetDataset().GetValidation() != 0, "validation has it, for the phase select alone"},
	} {
		if f.set {
			return bad("base."+f.name, "set; leave it out, for %s", f.by)
		}
	}
	if s.GetTeacherEpochs() > 0 && b.GetTeacher() == nil {
		return bad("teacher_epochs", "%v, and the loss of the students looks at no teacher; leave it out", s.GetTeacherEpochs())
	}
	return nil
}

func validateSeeds(s *StudySpec) error {
	if len(s.GetSeeds()) == 0 {
		return bad("seeds", "empty; say at least one, and two or more where an interval is wanted")
	}
	for i, seed := range s.GetSeeds() {
		if first := slices.Index(s.GetSeeds(), seed); first < i {
			return bad(fmt.Sprintf("seeds[%d]", i), "%d is there already as seeds[%d], and the same run twice says nothing new; give different seeds", seed, first)
		}
	}
	return nil
}

func validateSchedule(s *StudySpec) error {
	c := s.GetSchedule()
	switch {
	case !(c.GetEpochs() > 0) || !finite(c.GetEpochs()):
		return bad("schedule.epochs", "%v; the length of a run must be positive", c.GetEpochs())
	case !(c.GetWarmup() >= 0 && c.GetWarmup() <= c.GetEpochs()):
		return bad("schedule.warmup", "%v; it must lie between 0 and the length of a run, %v epochs", c.GetWarmup(), c.GetEpochs())
	case !(s.GetTeacherEpochs() >= 0) || !finite(s.GetTeacherEpochs()):
		return bad("teacher_epochs", "%v; the length of the teacher's run must be positive, or 0 where the teacher is given", s.GetTeacherEpochs())
	}
	for i, m := range c.GetMilestones() {
		if !(m > 0 && m < 1) {
			return bad(fmt.Sprintf("schedule.milestones[%d]", i), "%v; it is a fraction of the run, between 0 and 1", m)
		}
		if i > 0 && m <= c.GetMilestones()[i-1] {
			return bad("schedule.milestones", "%v are not in ascending order", c.GetMilestones())
		}
	}
	return nil
}

// scales are the parameters that the noises of dither have, by kind.
var scales = map[string][]string{"none": nil, "gaussian": {"sigma2"}, "symmetric": {"p"}}

func validateArms(s *StudySpec) error {
	if len(s.GetArms()) == 0 {
		return bad("arms", "empty; a study compares at least one setting")
	}
	for i, a := range s.GetArms() {
		field := fmt.Sprintf("arms[%d]", i)
		if a.GetNoise() == nil {
			return bad(field+".noise", "unset; it is none, gaussian, symmetric or service")
		}
		known, builtIn := scales[a.GetNoise().GetKind()]
		for name := range a.GetNoise().GetParameters() {
			if builtIn && !slices.Contains(known, name) {
				return bad(field+".noise.parameters", "%s noise has no parameter %s%s", a.GetNoise().GetKind(), name, hint(known))
			}
		}
		if v := a.GetStretch(); !(v >= 0) || math.IsInf(v, 0) {
			return bad(field+".stretch", "%v; it must be positive, or 0 for 1", v)
		}
		if err := Validate(probe(s, a)); err != nil {
			return fmt.Errorf("arms[%d]: %w", i, err)
		}
		for j, b := range s.GetArms()[:i] {
			if equalArms(a, b) {
				return bad(field, "it is the same as arms[%d]: leave one of them out", j)
			}
		}
	}
	return nil
}

func hint(known []string) string {
	if len(known) == 0 {
		return ""
	}
	return "; it has " + strings.Join(known, " and ")
}

// probe is a run of an arm as far as it can be known without the data, for Validate.
func probe(s *StudySpec, a *Arm) *RunSpec {
	r := proto.CloneOf(s.GetBase())
	if r.Optimizer == nil {
		r.Optimizer = &OptimizerSpec{}
	}
	r.Noise, r.Batch, r.Optimizer.Lr, r.Iterations = a.GetNoise(), a.GetBatch(), a.GetLr(), 1
	if s.GetTeacherEpochs() > 0 && r.Teacher.GetSha256() == "" {
		r.Teacher.Sha256 = "not trained yet"
	}
	return r
}

// Factor is what an arm's runs are longer by than the schedule.
func (a *Arm) Factor() float64 {
	if a.GetStretch() == 0 {
		return 1
	}
	return a.GetStretch()
}

func equalArms(a, b *Arm) bool {
	return proto.Equal(a.GetNoise(), b.GetNoise()) && a.GetBatch() == b.GetBatch() && a.GetLr() == b.GetLr() && a.Factor() == b.Factor()
}

// validateDesign holds the two tests of the theory to what they keep fixed: a verdict on arms that keep something else would be about nothing.
func validateDesign(s *StudySpec) error {
	for i, a := range s.GetArms() {
		for j, b := range s.GetArms()[:i] {
			if a.GetNoise().GetKind() != b.GetNoise().GetKind() {
				continue
			}
			var what string
			var x, y float64
			switch {
			case s.GetDesign() == DesignEtaOverB && proto.Equal(a.GetNoise(), b.GetNoise()):
				what, x, y = "lr/batch", a.GetLr()/float64(a.GetBatch()), b.GetLr()/float64(b.GetBatch())
			case s.GetDesign() == DesignLabelNoise && a.GetNoise().GetKind() == "gaussian":
				what, x, y = "lr sigma2/batch", a.labelNoise(), b.labelNoise()
			default:
				continue
			}
			if different(x, y) {
				return bad(fmt.Sprintf("arms[%d]", i), "%s is %.6g and that of arms[%d] is %.6g; the design %s keeps it fixed", what, x, j, y, s.GetDesign())
			}
			// eta K at B: eta times epochs over B.
			if x, y = a.GetLr()*a.Factor()/float64(a.GetBatch()), b.GetLr()*b.Factor()/float64(b.GetBatch()); different(x, y) {
				return bad(fmt.Sprintf("arms[%d].stretch", i), "lr stretch/batch is %.6g and that of arms[%d] is %.6g, so that eta K differs; the design %s keeps it fixed", x, j, y, s.GetDesign())
			}
		}
	}
	if s.GetDesign() == DesignLabelNoise {
		for i, a := range s.GetArms() {
			if k := a.GetNoise().GetKind(); k != "gaussian" {
				return bad(fmt.Sprintf("arms[%d].noise", i), "%s; the design %s needs gaussian noise, whose variance is sigma2 whatever the labels are", k, DesignLabelNoise)
			}
		}
	}
	return nil
}

// labelNoise is eta sigma2 / B.
func (a *Arm) labelNoise() float64 {
	return a.GetLr() * a.GetNoise().GetParameters()["sigma2"] / float64(a.GetBatch())
}

// different allows for the rounding of a few products.
func different(x, y float64) bool { return math.Abs(x-y) > 1e-9*math.Max(math.Abs(x), math.Abs(y)) }
