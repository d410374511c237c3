package study

import (
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/proto"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// Plan is every run of a study on a data set with so many training images (those in use: after its limit, before anything is held out). Hashes are distinct.
//
// The order is that in which to run them so that partial results are of use: seed by seed, for after the first seed every point of a figure has a value and after the second an
// interval; in a seed arm by arm, and in an arm select before refit. A refit depends on no choice (every arm is refitted), so nothing waits for another run.
func Plan(s *ditherv1.StudySpec, trainImages int) ([]Run, error) {
	if err := ditherv1.ValidateStudy(s); err != nil {
		return nil, err
	}
	phases := []string{Select, Refit}
	if s.GetValidation() == 0 {
		phases = phases[1:]
	}
	var runs []Run
	where := map[string]Run{}
	for _, seed := range s.GetSeeds() {
		for arm := range s.GetArms() {
			for _, phase := range phases {
				r, err := plan(s, arm, seed, phase, trainImages)
				if err != nil {
					return nil, fmt.Errorf("%s, seed %d, phase %s: %w", Name(s, arm), seed, phase, err)
				}
				if other, there := where[r.Hash]; there {
					// Arms that differ only in a stretch too small to make an iteration.
					return nil, fmt.Errorf("%w: arms[%d]: its run with seed %d is that of arms[%d]; leave one of them out", ditherv1.ErrSpec, arm, seed, other.Arm)
				}
				where[r.Hash] = r
				runs = append(runs, r)
			}
		}
	}
	return runs, nil
}

// plan is one run. Its schedule is that of `dither run` for the same words, so that both have one spec.
func plan(s *ditherv1.StudySpec, arm int, seed uint64, phase string, trainImages int) (Run, error) {
	a := s.GetArms()[arm]
	spec := proto.CloneOf(s.GetBase())
	if spec.Optimizer == nil {
		spec.Optimizer = &ditherv1.OptimizerSpec{}
	}
	spec.Noise, spec.Batch, spec.Seed, spec.Optimizer.Lr = proto.CloneOf(a.GetNoise()), a.GetBatch(), seed, a.GetLr()
	n := trainImages
	if phase == Select {
		spec.Dataset.Validation = s.GetValidation()
		n -= heldOut(trainImages, s.GetValidation())
	}
	perEpoch := n / int(spec.Batch)
	if perEpoch == 0 {
		return Run{}, fmt.Errorf("%w: batch: %d is more than the %d training images; choose a smaller one", ditherv1.ErrSpec, spec.Batch, n)
	}
	length := float64(perEpoch)
	if s.GetDesign() == ditherv1.DesignEtaOverB {
		// What an epoch drops differs with B; without it eta K is equal for every B, but for less than an iteration.
		length = float64(n) / float64(spec.Batch)
	}
	if err := schedule(spec, s.GetSchedule(), a.Factor()*length); err != nil {
		return Run{}, err
	}
	if err := ditherv1.Validate(spec); err != nil {
		return Run{}, err
	}
	r := known(Run{Arm: arm, Seed: seed, Phase: phase, Spec: spec, PerEpoch: perEpoch, EvalEvery: int(s.GetEvalEvery())})
	if phase == Refit {
		r.GradientNormImages = min(int(s.GetGradientNormImages()), n)
	}
	return r, nil
}

func known(r Run) Run {
	r.Hash = ditherv1.Hash(r.Spec)
	r.Folder = RunsDir + "/" + r.Hash[:16]
	return r
}

// heldOut is how many of n samples dataloader.Split holds out.
func heldOut(n int, fraction float64) int { return int(math.Round(float64(n) * fraction)) }

// schedule turns epochs, each of so many iterations, into iterations. All parts stretch with the run, so that eta as a function of eta k is the same for runs of equal eta K.
func schedule(spec *ditherv1.RunSpec, c *ditherv1.Schedule, epoch float64) error {
	iterations := math.Round(c.GetEpochs() * epoch)
	if iterations < 1 || iterations > math.MaxUint32-1 {
		return fmt.Errorf("%w: schedule.epochs: %v epochs of %.6g iterations are %.0f; a run has at least 1 iteration and they are counted in 32 bits",
			ditherv1.ErrSpec, c.GetEpochs(), epoch, iterations)
	}
	o := spec.Optimizer
	spec.Iterations, o.Milestones, o.Warmup = uint32(iterations), nil, 0
	for _, m := range c.GetMilestones() {
		o.Milestones = append(o.Milestones, uint32(m*iterations))
	}
	if len(o.Milestones) > 0 && o.Gamma == 0 {
		o.Gamma = 0.1
	}
	if c.GetWarmup() > 0 {
		o.Warmup = uint32(min(max(math.Round(c.GetWarmup()*epoch), 1), iterations))
	}
	return nil
}

// Name says which arm it is, in words: its noise, and what else differs between the arms.
func Name(s *ditherv1.StudySpec, arm int) string {
	a := s.GetArms()[arm]
	parts := []string{noiseName(a.GetNoise())}
	var batches, rates, stretches, refreshes bool
	for _, b := range s.GetArms() {
		batches = batches || b.GetBatch() != a.GetBatch()
		rates = rates || b.GetLr() != a.GetLr()
		stretches = stretches || b.Factor() != a.Factor()
		refreshes = refreshes || b.GetNoise().GetRefresh() != a.GetNoise().GetRefresh()
	}
	if refreshes {
		parts = append(parts, "drawn "+map[string]string{"once": "once", "iteration": "each iteration"}[a.GetNoise().GetRefresh()])
	}
	if batches {
		parts = append(parts, fmt.Sprintf("batch %d", a.GetBatch()))
	}
	if rates {
		parts = append(parts, fmt.Sprintf("lr %.6g", a.GetLr()))
	}
	if stretches {
		parts = append(parts, fmt.Sprintf("%.6g times as long", a.Factor()))
	}
	return strings.Join(parts, ", ")
}

// noiseName is "none", "gaussian sigma2=4", "symmetric p=0.3" or the service with its numbers.
func noiseName(n *ditherv1.NoiseSpec) string {
	words := []string{kind(n)}
	for _, p := range sorted(n.GetParameters()) {
		words = append(words, fmt.Sprintf("%s=%.6g", p, n.GetParameters()[p]))
	}
	return strings.Join(words, " ")
}

// kind is "none", "gaussian", "symmetric" or the name that a service gives itself.
func kind(n *ditherv1.NoiseSpec) string {
	if n.GetKind() == "service" && n.GetService() != "" {
		return n.GetService()
	}
	return n.GetKind()
}

// scale is sigma2, p, or the one number of a service; 0 where there is none, or no single one.
func scale(n *ditherv1.NoiseSpec) float64 {
	if len(n.GetParameters()) != 1 {
		return 0
	}
	for _, v := range n.GetParameters() {
		return v
	}
	return 0
}

// scaleName is what the scale of a noise is called.
func scaleName(n *ditherv1.NoiseSpec) string {
	if len(n.GetParameters()) != 1 {
		return "scale"
	}
	return sorted(n.GetParameters())[0]
}
