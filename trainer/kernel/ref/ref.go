// Package ref is the oracle of the kernel sets: every Kind in float64, by the simplest loops that compute its formula. It is slow and has no workspace.
package ref

import (
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/internal/host"
)

// call is an op and its arguments; its methods compute.
type call struct{ host.Call[float64] }

var kinds = map[kernel.Kind]func(*call){
	kernel.View:             (*call).view,
	kernel.ConvForward:      (*call).convForward,
	kernel.ConvDataGrad:     (*call).convDataGrad,
	kernel.ConvWeightGrad:   (*call).convWeightGrad,
	kernel.ConvSquares:      (*call).convSquares,
	kernel.NormStats:        (*call).normStats,
	kernel.NormSums:         (*call).normSums,
	kernel.NormFinish:       (*call).normFinish,
	kernel.NormForward:      (*call).normForward,
	kernel.NormGradSums:     (*call).normGradSums,
	kernel.NormDataGrad:     (*call).normDataGrad,
	kernel.NormEvalDataGrad: (*call).normEvalDataGrad,
	kernel.NormSquares:      (*call).normSquares,
	kernel.ReLU:             (*call).relu,
	kernel.ReLUGrad:         (*call).reluGrad,
	kernel.Add:              (*call).add,
	kernel.ShortcutForward:  (*call).shortcutForward,
	kernel.ShortcutGrad:     (*call).shortcutGrad,
	kernel.PoolForward:      (*call).poolForward,
	kernel.PoolGrad:         (*call).poolGrad,
	kernel.Flatten:          (*call).flatten,
	kernel.Unflatten:        (*call).flatten,
	kernel.LinearForward:    (*call).linearForward,
	kernel.LinearDataGrad:   (*call).linearDataGrad,
	kernel.LinearWeightGrad: (*call).linearWeightGrad,
	kernel.LinearBiasGrad:   (*call).linearBiasGrad,
	kernel.LinearSquares:    (*call).linearSquares,
	kernel.QuadraticForward: (*call).quadraticForward,
	kernel.QuadraticGrad:    (*call).quadraticGrad,
	kernel.KDForward:        (*call).kdForward,
	kernel.KDGrad:           (*call).kdGrad,
	kernel.CEForward:        (*call).ceForward,
	kernel.CEGrad:           (*call).ceGrad,
	kernel.Correct:          (*call).correct,
	kernel.Gather:           (*call).gather,
	kernel.OneHot:           (*call).oneHot,
	kernel.Zero:             (*call).zero,
	kernel.SGD:              (*call).sgd,
	kernel.RunningAverage:   (*call).runningAverage,
	kernel.GaussianNoise:    (*call).gaussianNoise,
	kernel.SymmetricNoise:   (*call).symmetricNoise,
}

type set struct{}

// New gives the reference set; its Real is float64.
func New() kernel.Set { return set{} }

func (set) Name() string             { return "ref" }
func (set) Arithmetic() string       { return "ref/1" }
func (set) NewStream() kernel.Stream { return host.Stream[float64]{} }
func (set) Close()                   {}
func (set) Traits() kernel.Traits    { return kernel.Traits{Block: 1} }

func (set) Alloc(t kernel.Type, n int) (kernel.Memory, error) {
	m, err := host.Alloc[float64](t, n)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (set) Prepare(op kernel.Op) (kernel.Kernel, error) {
	if err := op.CheckFor(set{}.Traits()); err != nil {
		return nil, err
	}
	run, ok := kinds[op.Kind]
	if !ok {
		return nil, fmt.Errorf("%v: %w", op, kernel.ErrUnsupported)
	}
	return &prepared{call{host.NewCall[float64](op)}, run}, nil
}

// forward is the image of the forward pass that image n of a gradient belongs to.
func (c *call) forward(n int) int { return n / c.Repeats() }

type prepared struct {
	call call
	run  func(*call)
}

func (*prepared) Workspace() int { return 0 }

func (p *prepared) Launch(_ kernel.Stream, args []kernel.Memory) {
	p.call.Bind(args)
	p.run(&p.call)
	p.call.Release()
}
