// Package noise holds what happens to a teacher's logits on purpose: the built-in noises, the service that offers a noise over gRPC, the client
// that makes any such service a noise, and the check that holds a noise to its promises.
//
// A draw is a function of (seed, iteration, sample) and the sample's logits: never of the batch it came in, or of what was drawn before.
package noise

import (
	"context"
	"errors"
	"fmt"
	"math"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

var (
	// ErrSpec: a noise that cannot be, as typed or as found in a spec.
	ErrSpec = errors.New("bad noise")
	// ErrRequest: logits, samples and shapes that cannot be perturbed. Nothing was written to out.
	ErrRequest = errors.New("bad request to a noise")
)

// Description is what a noise promises; Check holds it to it.
type Description struct {
	Name       string             `json:"name"`       // "none", "gaussian", "symmetric" or a service's own, stable over restarts
	Parameters map[string]float64 `json:"parameters"` // the numbers in force
	Replayable bool               `json:"replayable"` // the same question always gets the same answer, also after a restart
	Unbiased   bool               `json:"unbiased"`   // the mean over draws is the logits
	Variance   float64            `json:"variance"`   // of the noise on each logit, in logits squared; < 0: depends on the logits
}

// Noise perturbs logits. It may be used from several goroutines at once.
type Noise interface {
	// Describe says what the noise promises. For a service it is also how one learns whether it is there.
	Describe(ctx context.Context) (Description, error)
	// Perturb writes the noisy logits of n samples to out; logits and out are [n][classes], len(samples) = n; out may be logits, else it does
	// not overlap them. samples are indices in the training set, each a part of its draw's counter; iteration is k >= 1, or 0 where the noise is
	// drawn once a run (Iteration says which). All logits are finite, and so is all that is written. After an error out is of no use.
	Perturb(ctx context.Context, seed uint64, iteration uint32, samples []uint32, logits, out []float32) error
	// Close lets go of connections.
	Close() error
}

// Parametrised is a noise whose numbers a user of its service may choose (`service:HOST:PORT?k=v`).
type Parametrised interface {
	// With is the same noise with the given parameters in place of its own. An error wraps ErrSpec.
	With(parameters map[string]float64) (Noise, error)
}

// New makes the noise of a spec: a built-in one, or the client of the service at address (HOST:PORT, looked at for a service only). A client
// connects when it is first asked: Describe tells whether the service is there. The error wraps ErrSpec.
func New(spec *ditherv1.NoiseSpec, address string) (Noise, error) {
	if err := Validate(spec); err != nil {
		return nil, err
	}
	switch spec.GetKind() {
	case Gaussian:
		return newGaussian(spec.GetParameters()["sigma2"]), nil
	case Symmetric:
		return symmetric{p: spec.GetParameters()["p"]}, nil
	case Service:
		return NewClient(address, spec, ClientOptions{})
	}
	return none{}, nil
}

// Iteration is what to give Perturb at iteration k >= 1 of a run with this noise: k, or 0 where the noise is drawn once a run.
func Iteration(spec *ditherv1.NoiseSpec, k uint32) uint32 {
	if spec.GetRefresh() == refreshOnce {
		return 0
	}
	return k
}

// shape checks what Perturb is given and says how many classes there are; n = 0 has none. The error wraps ErrRequest.
func shape(samples []uint32, logits, out []float32) (classes int, err error) {
	n := len(samples)
	switch {
	case len(out) != len(logits):
		return 0, fmt.Errorf("%w: %d logits and room for %d noisy ones: both must be [samples][classes]", ErrRequest, len(logits), len(out))
	case n == 0 && len(logits) == 0:
		return 0, nil
	case n == 0 || len(logits) == 0 || len(logits)%n != 0:
		return 0, fmt.Errorf("%w: %d logits for %d samples: give the same number of classes, at least one, for each sample", ErrRequest, len(logits), n)
	}
	classes = len(logits) / n
	if i := firstNotFinite(logits); i >= 0 {
		return 0, fmt.Errorf("%w: the logit of sample %d, class %d is %v: noise is added to finite numbers only; look at the teacher",
			ErrRequest, samples[i/classes], i%classes, logits[i])
	}
	return classes, nil
}

// firstNotFinite is the index of the first NaN or infinity, -1 if there is none.
func firstNotFinite(xs []float32) int {
	for i, x := range xs {
		if !(math.Abs(float64(x)) <= math.MaxFloat32) {
			return i
		}
	}
	return -1
}
