package cpu

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/cpu/vector"
	"github.com/dither-ml/dither/trainer/kernel/internal/host"
)

// Options of the set.
type Options struct {
	Threads int    // workers, the launching goroutine being one; 0: as many as Go may use. It never changes a bit.
	Kernels string // "generic", "avx2" or "avx512"; "" or "auto": the fastest that this processor has. It never changes a bit.
}

// Names are the kernel sets that there may be, the plainest first.
func Names() []string { return []string{"generic", "avx2", "avx512"} }

// Available are those of Names that this processor and this build have.
func Available() (names []string) {
	for _, v := range vector.Sets() {
		names = append(names, v.Name)
	}
	return names
}

type set struct {
	pool *pool
	v    *vector.Set
}

// Arithmetic names the bits of every set here.
const Arithmetic = "cpu/2"

// New gives a set of arithmetic "cpu/2". An error wraps kernel.ErrUnsupported where this processor, or this build, has no such kernels. Close ends
// its workers.
func New(o Options) (kernel.Set, error) {
	if o.Threads < 0 {
		return nil, fmt.Errorf("starting the kernels with %d threads: give 1 or more, or 0 for all processors", o.Threads)
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	sets := vector.Sets()
	i := slices.IndexFunc(sets, func(v *vector.Set) bool { return v.Name == o.Kernels })
	switch {
	case o.Kernels == "" || o.Kernels == "auto":
		i = len(sets) - 1
	case !slices.Contains(Names(), o.Kernels):
		return nil, fmt.Errorf("there are no %q kernels; there are %s: %w", o.Kernels, strings.Join(Names(), ", "), kernel.ErrUnsupported)
	case i < 0:
		return nil, fmt.Errorf("this processor or this build has no %s kernels; it has %s; auto takes the fastest: %w", o.Kernels, strings.Join(Available(), ", "), kernel.ErrUnsupported)
	}
	return &set{newPool(o.Threads), sets[i]}, nil
}

func (s *set) Name() string           { return s.v.Name }
func (*set) Arithmetic() string       { return Arithmetic }
func (*set) Traits() kernel.Traits    { return kernel.Traits{Block: lanes, Fuses: true} }
func (*set) NewStream() kernel.Stream { return host.Stream[float32]{} }
func (s *set) Close()                 { s.pool.close() }

func (*set) Alloc(t kernel.Type, n int) (kernel.Memory, error) {
	m, err := host.Alloc[float32](t, n)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (s *set) Prepare(op kernel.Op) (kernel.Kernel, error) {
	if err := op.CheckFor(s.Traits()); err != nil {
		return nil, err
	}
	plan, ok := plans[op.Kind]
	if !ok {
		return nil, fmt.Errorf("%v: %w", op, kernel.ErrUnsupported)
	}
	k := &prepared{Call: host.NewCall[float32](op), pool: s.pool, v: s.v}
	plan(k)
	return k, nil
}

// plans lay out the steps of a kernel.
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
	kernel.Flatten:          planFlatten,
	kernel.Unflatten:        planUnflatten,
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

// prepared is a kernel: steps, one after the other, each cut into units that any worker may do in any order.
type prepared struct {
	host.Call[float32]
	pool  *pool
	v     *vector.Set
	steps []step
}

// step is some units of work. Invariant: what a unit computes depends on nothing that another unit of its step writes, nor on the worker, which only says whose scratch is free.
type step struct {
	units int
	work  int // of all units, in nanoseconds or so: little is not worth waking workers for
	run   func(worker, unit int)
}

func (k *prepared) add(units, work int, run func(worker, unit int)) {
	k.steps = append(k.steps, step{units, work, run})
}

// Workspace implements kernel.Kernel.
func (k *prepared) Workspace() int { return k.Scratch }

// Launch implements kernel.Kernel: it returns when the work is done.
func (k *prepared) Launch(_ kernel.Stream, args []kernel.Memory) {
	k.Bind(args)
	for i := range k.steps {
		k.pool.run(&k.steps[i])
	}
	k.Release()
}

// reserve gives the place of n elements of the workspace.
func (k *prepared) reserve(n int) int {
	place := k.Scratch
	k.Scratch += whole(n)
	return place
}

// workspace is the elements [from, from+n) of the workspace.
func (k *prepared) workspace(from, n int) []float32 {
	return k.Real(len(k.Args))[from : from+n : from+n]
}
