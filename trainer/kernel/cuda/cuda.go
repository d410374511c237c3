//go:build gpu

package cuda

import (
	_ "embed"
	"fmt"
	"io"

	"github.com/dither-ml/dither/trainer/kernel"
)

// image is src/*.cu compiled for sm_80 and sm_90a, with PTX for what is newer ("make cuda").
//
//go:embed kernels.fatbin
var image string

// Options of the set.
type Options struct {
	Device int       // the GPU, counted from 0 as the driver does
	Half   bool      // activations and products in bfloat16, on tensor cores
	Held   io.Closer // closed once the GPU is given back; nil: nothing
}

type set struct {
	device *device
	half   bool
	held   io.Closer
}

// New gives the set on a GPU. An error says what there is, and wraps kernel.ErrUnsupported where that is no such GPU. Close gives it back.
func New(o Options) (kernel.Set, error) {
	d, err := openDevice(o.Device)
	if err != nil {
		return nil, err
	}
	return &set{d, o.Half, o.Held}, nil
}

func (*set) Name() string { return "cuda" }

func (s *set) Arithmetic() string {
	if s.half {
		return fmt.Sprintf("%s-sm%d", HalfArithmetic, s.device.compute)
	}
	return Arithmetic
}

func (s *set) Traits() kernel.Traits {
	if s.half {
		return kernel.Traits{Block: lanes, Half: true, Fuses: true, Apart: true}
	}
	return kernel.Traits{Block: 1, Apart: true}
}

// Close implements kernel.Set.
func (s *set) Close() {
	s.device.close()
	if s.held != nil {
		s.held.Close()
	}
}

func (s *set) Alloc(t kernel.Type, n int) (kernel.Memory, error) {
	if t == kernel.Half && !s.half {
		return nil, fmt.Errorf("allocating %d elements of bfloat16: the set computes in float32: %w", n, kernel.ErrUnsupported)
	}
	m, err := s.device.alloc(t, n)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// NewStream implements kernel.Set. If the device has none to give, the stream's Sync says so.
func (s *set) NewStream() kernel.Stream { return s.device.newStream() }

func (s *set) Prepare(op kernel.Op) (kernel.Kernel, error) {
	if err := op.CheckFor(s.Traits()); err != nil {
		return nil, err
	}
	plan, ok := plans[op.Kind]
	if op.Half {
		plan, ok = halfPlans[op.Kind]
	}
	if !ok {
		return nil, fmt.Errorf("%v: %w", op, kernel.ErrUnsupported)
	}
	k := &prepared{Op: op, args: op.Args(), device: s.device}
	plan(k)
	if err := k.finish(); err != nil {
		return nil, err
	}
	return k, nil
}

// plans lay out the launches of a kernel of float32; those of Op.Half are halfPlans.
var plans = map[kernel.Kind]func(*prepared){
	kernel.View:             planView,
	kernel.ConvForward:      planConvForward,
	kernel.ConvDataGrad:     planConvDataGrad,
	kernel.ConvWeightGrad:   planConvWeightGrad,
	kernel.ConvSquares:      planConvSquares,
	kernel.NormStats:        planNormStats,
	kernel.NormSums:         planNormSums,
	kernel.NormFinish:       planNormFinish,
	kernel.NormForward:      planNormForward,
	kernel.NormGradSums:     planNormGradSums,
	kernel.NormDataGrad:     planNormDataGrad,
	kernel.NormEvalDataGrad: planNormEvalDataGrad,
	kernel.NormSquares:      planNormSquares,
	kernel.ReLU:             planReLU,
	kernel.ReLUGrad:         planReLUGrad,
	kernel.Add:              planAdd,
	kernel.ShortcutForward:  planShortcutForward,
	kernel.ShortcutGrad:     planShortcutGrad,
	kernel.PoolForward:      planPoolForward,
	kernel.PoolGrad:         planPoolGrad,
	kernel.Flatten:          planCopy,
	kernel.Unflatten:        planCopy,
	kernel.LinearForward:    planLinearForward,
	kernel.LinearDataGrad:   planLinearDataGrad,
	kernel.LinearWeightGrad: planLinearWeightGrad,
	kernel.LinearBiasGrad:   planLinearBiasGrad,
	kernel.LinearSquares:    planLinearSquares,
	kernel.QuadraticForward: planQuadraticForward,
	kernel.QuadraticGrad:    planQuadraticGrad,
	kernel.KDForward:        planKDForward,
	kernel.KDGrad:           planKDGrad,
	kernel.CEForward:        planCEForward,
	kernel.CEGrad:           planCEGrad,
	kernel.Correct:          planCorrect,
	kernel.Gather:           planGather,
	kernel.OneHot:           planOneHot,
	kernel.Zero:             planZero,
	kernel.SGD:              planSGD,
	kernel.RunningAverage:   planRunningAverage,
	kernel.GaussianNoise:    planGaussianNoise,
	kernel.SymmetricNoise:   planSymmetricNoise,
}
