package ditherv1

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrSpec is what Validate's errors wrap.
var ErrSpec = errors.New("spec")

func bad(field, format string, a ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrSpec, field, fmt.Sprintf(format, a...))
}

// Validate says in one sentence the first thing that is wrong with a complete spec: which field, what, and what to do. It knows nothing of
// which data sets and networks there are; those who have them check the names.
func Validate(s *RunSpec) error {
	for _, check := range []func(*RunSpec) error{validateDataset, validateBatching, validateOptimizer, validateLoss, validateTeacher, validateNoise, validateInit} {
		if err := check(s); err != nil {
			return err
		}
	}
	return nil
}

func validateDataset(s *RunSpec) error {
	d := s.GetDataset()
	switch {
	case d.GetName() == "":
		return bad("dataset.name", "unset; say --dataset digits, cifar10, cifar100 or svhn")
	case d.GetClasses() < 2:
		return bad("dataset.classes", "%d; a classifier needs 2 or more", d.GetClasses())
	case d.GetChannels() == 0 || d.GetHeight() == 0 || d.GetWidth() == 0:
		return bad("dataset", "images of %d x %d x %d have no pixels", d.GetChannels(), d.GetHeight(), d.GetWidth())
	case len(d.GetMean()) != int(d.GetChannels()) || len(d.GetStd()) != int(d.GetChannels()):
		return bad("dataset.mean and .std", "%d and %d values for %d channels; give one for each", len(d.GetMean()), len(d.GetStd()), d.GetChannels())
	case !(d.GetValidation() >= 0 && d.GetValidation() < 1):
		return bad("dataset.validation", "%v; the fraction held out must lie in [0, 1)", d.GetValidation())
	}
	for c, v := range d.GetStd() {
		if !(v > 0) || math.IsInf(v, 0) || math.IsNaN(d.GetMean()[c]) || math.IsInf(d.GetMean()[c], 0) {
			return bad("dataset.std", "channel %d has mean %v and standard deviation %v; pixels cannot be normalised by them", c, d.GetMean()[c], v)
		}
	}
	return nil
}

func validateBatching(s *RunSpec) error {
	switch {
	case s.GetModel().GetName() == "":
		return bad("model.name", "unset; say --model, for example resnet20")
	case s.GetBatch() == 0:
		return bad("batch", "0; a batch has at least one sample")
	case s.GetShards() == 0:
		return bad("shards", "0; a batch has at least one shard")
	case s.GetBatch()%s.GetShards() != 0:
		return bad("shards", "%d shards do not divide a batch of %d; choose --shards among its divisors, such as %s", s.GetShards(), s.GetBatch(), divisors(s.GetBatch(), s.GetShards()))
	case s.GetIterations() == 0:
		return bad("iterations", "0; there is nothing to train; say --epochs or --iterations")
	case s.GetIterations() == math.MaxUint32:
		return bad("iterations", "%d is one too many: they are counted in 32 bits", s.GetIterations())
	case s.GetBatchnorm() != "shard" && s.GetBatchnorm() != "global":
		return bad("batchnorm", "%q; it is shard or global", s.GetBatchnorm())
	case s.GetAugment() != "standard" && s.GetAugment() != "none":
		return bad("augment", "%q; it is standard or none", s.GetAugment())
	case s.GetArithmetic() == "":
		return bad("arithmetic", "unset; the kernel set says it")
	}
	return nil
}

// divisors are those of n next to want, for a hint.
func divisors(n, want uint32) string {
	below, above := uint32(1), n
	for d := uint32(1); d <= n; d++ {
		if n%d == 0 && d < want {
			below = d
		}
		if n%d == 0 && d > want {
			above = d
			break
		}
	}
	if below == above {
		return fmt.Sprint(below)
	}
	return fmt.Sprintf("%d or %d", below, above)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func validateOptimizer(s *RunSpec) error {
	o := s.GetOptimizer()
	switch {
	case !(o.GetLr() > 0) || !finite(o.GetLr()):
		return bad("optimizer.lr", "%v; the learning rate must be positive", o.GetLr())
	case !(o.GetMomentum() >= 0 && o.GetMomentum() < 1):
		return bad("optimizer.momentum", "%v; it must lie in [0, 1)", o.GetMomentum())
	case !(o.GetWeightDecay() >= 0) || !finite(o.GetWeightDecay()):
		return bad("optimizer.weight_decay", "%v; it must be zero or positive", o.GetWeightDecay())
	case len(o.GetMilestones()) > 0 && !(o.GetGamma() > 0 && o.GetGamma() <= 1):
		return bad("optimizer.gamma", "%v; the factor at a milestone must lie in (0, 1]", o.GetGamma())
	case !slices.IsSorted(o.GetMilestones()):
		return bad("optimizer.milestones", "%v are not in ascending order", o.GetMilestones())
	}
	return nil
}

func validateLoss(s *RunSpec) error {
	l := s.GetLoss()
	for _, w := range []struct {
		name  string
		value float64
	}{{"quadratic", l.GetQuadratic()}, {"kd", l.GetKd()}, {"ce", l.GetCe()}} {
		if !(w.value >= 0) || !finite(w.value) {
			return bad("loss."+w.name, "a weight of %v; weights are zero or positive", w.value)
		}
	}
	switch {
	case l.GetQuadratic()+l.GetKd()+l.GetCe() == 0:
		return bad("loss", "every weight is zero; say --loss quadratic, kd, ce or kd=0.9,ce=0.1")
	case l.GetKd() > 0 && (!(l.GetTemperature() > 0) || !finite(l.GetTemperature())):
		return bad("loss.temperature", "%v; kd needs a positive one, such as 4", l.GetTemperature())
	}
	return nil
}

func validateTeacher(s *RunSpec) error {
	l, soft := s.GetLoss(), s.GetLoss().GetQuadratic() > 0 || s.GetLoss().GetKd() > 0
	switch t := s.GetTeacher(); {
	case t == nil && soft:
		return bad("teacher", "the %s loss learns from soft labels and there is no teacher; say --teacher FILE or train, or --loss ce", softName(l))
	case t == nil:
		return nil
	case !soft:
		return bad("loss", "cross-entropy alone never looks at the teacher; say --teacher none, or a --loss with quadratic or kd in it")
	case t.GetSha256() == "":
		return bad("teacher.sha256", "unset; a run is fixed by its teacher's parameters")
	case t.GetView() != "augmented" && t.GetView() != "original":
		return bad("teacher.view", "%q; it is augmented or original", t.GetView())
	case t.GetModel() == nil && t.GetView() == "augmented" && s.GetAugment() != "none":
		return bad("teacher.view", "precomputed logits are of the original images; say --teacher-view original or --augment none")
	}
	return nil
}

func softName(l *LossSpec) string {
	if l.GetQuadratic() > 0 {
		return "quadratic"
	}
	return "kd"
}

func validateNoise(s *RunSpec) error {
	n := s.GetNoise()
	switch {
	case s.GetTeacher() == nil && n != nil && n.GetKind() != "none":
		return bad("noise", "%s noise is added to a teacher's logits and there is no teacher; say --teacher, or --noise none", n.GetKind())
	case s.GetTeacher() == nil:
		return nil
	case n == nil:
		return bad("noise", "unset; say --noise none, gaussian:sigma2=1, symmetric:p=0.3 or service:HOST:PORT")
	case n.GetRefresh() != "iteration" && n.GetRefresh() != "once":
		return bad("noise.refresh", "%q; it is iteration or once", n.GetRefresh())
	}
	p := n.GetParameters()
	switch n.GetKind() {
	case "none", "service":
	case "gaussian":
		if v, ok := p["sigma2"]; !ok || !(v >= 0) || !finite(v) {
			return bad("noise.sigma2", "%v; the variance of Gaussian noise must be zero or positive", v)
		}
	case "symmetric":
		if v, ok := p["p"]; !ok || !(v >= 0 && v <= 1) {
			return bad("noise.p", "%v; the probability of a swap must lie in [0, 1]", v)
		}
	default:
		return bad("noise.kind", "%q; it is none, gaussian, symmetric or service", n.GetKind())
	}
	return nil
}

func validateInit(s *RunSpec) error {
	switch i := s.GetInit(); i.GetKind() {
	case "random":
		return nil
	case "teacher":
		if s.GetTeacher().GetModel() == nil {
			return bad("init", "teacher, and there is no teacher network to start from; say --init random or a --teacher FILE")
		}
		if s.GetTeacher().GetModel().GetName() != s.GetModel().GetName() {
			return bad("init", "teacher, whose network is %s while the student's is %s; both must be the same", s.GetTeacher().GetModel().GetName(), s.GetModel().GetName())
		}
		return nil
	case "file":
		if i.GetSha256() == "" {
			return bad("init.sha256", "unset; a run is fixed by its start's parameters")
		}
		return nil
	default:
		return bad("init.kind", "%q; it is random, teacher or file", i.GetKind())
	}
}
