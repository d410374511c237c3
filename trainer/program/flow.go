package program

import (
	"iter"
	"slices"

	"github.com/dither-ml/dither/trainer/kernel"
)

// A pass rewrites a list of steps, after lowering and before planning, so that the same results take fewer passes over memory. It changes no bit of
// them: by the kernels' contract a fused step computes what the steps that it took in computed one after the other.
type pass struct {
	name string
	run  func(*flow)
}

// passes are those for a set that fuses. The order matters: while norms and ReLUs still stand alone, masks find the norm to recompute them from; what a mask
// no longer reads, convolutions can recompute too.
var passes = []pass{{"statistics", fuseStatistics}, {"masks", fuseMasks}, {"norms", fuseNorms}, {"residuals", fuseResiduals}, {"norm gradients", fuseNormGrads}, {"gradients", fuseGradients}}

// rewrite gives the steps that passes make of steps.
func rewrite(steps []*Step, passes []pass) []*Step {
	for _, p := range passes {
		f := newFlow(steps)
		p.run(f)
		steps = slices.DeleteFunc(f.steps, func(s *Step) bool { return s == nil })
	}
	return steps
}

// flow is a list of steps in which a pass asks who makes and who reads a value.
type flow struct {
	steps   []*Step // nil where one was taken out
	at      map[*Step]int
	maker   map[*Value]*Step
	readers map[*Value][]*Step
}

func newFlow(steps []*Step) *flow {
	f := &flow{slices.Clone(steps), map[*Step]int{}, map[*Value]*Step{}, map[*Value][]*Step{}}
	for i, s := range steps {
		f.at[s] = i
		f.link(s)
	}
	return f
}

func (f *flow) link(s *Step) {
	for _, v := range s.inputs() {
		f.readers[v.root()] = append(f.readers[v.root()], s)
	}
	for _, v := range s.outputs() {
		f.maker[v] = s
	}
}

func (f *flow) unlink(s *Step) {
	for _, v := range s.inputs() {
		f.readers[v.root()] = slices.DeleteFunc(f.readers[v.root()], func(r *Step) bool { return r == s })
	}
}

// of are the steps of those kinds, in order; they may be taken out on the way.
func (f *flow) of(kinds ...kernel.Kind) iter.Seq[*Step] {
	return func(yield func(*Step) bool) {
		for i := range f.steps {
			if s := f.steps[i]; s != nil && s.Kind == Compute && slices.Contains(kinds, s.Op.Kind) && !yield(s) {
				return
			}
		}
	}
}

// made is the step that makes v if it is of that kind, else nil.
func (f *flow) made(v *Value, kind kernel.Kind) *Step {
	if s := f.maker[v]; s != nil && s.Kind == Compute && s.Op.Kind == kind {
		return s
	}
	return nil
}

// first is the first step that reads v.
func (f *flow) first(v *Value) *Step {
	return slices.MinFunc(f.readers[v], func(a, b *Step) int { return f.at[a] - f.at[b] })
}

// only says that nobody but s reads v, nor needs it afterwards.
func (f *flow) only(v *Value, s *Step) bool {
	return v.passing() && len(f.readers[v]) == 1 && f.readers[v][0] == s
}

// edit changes a step's op and arguments.
func (f *flow) edit(s *Step, change func()) {
	f.unlink(s)
	change()
	f.link(s)
}

// drop takes a step out, whose work another has taken in.
func (f *flow) drop(s *Step) {
	f.unlink(s)
	f.steps[f.at[s]] = nil
}

// sink lets s take the place of a later step, whose work it has taken in. Nobody in between may read what s makes.
func (f *flow) sink(s, later *Step) {
	f.drop(later)
	f.steps[f.at[s]], f.steps[f.at[later]] = nil, s
	f.at[s] = f.at[later]
}

// raise lets s take the place of an earlier step, whose work it has taken in. What s reads must be there by then.
func (f *flow) raise(s, earlier *Step) {
	f.drop(earlier)
	f.steps[f.at[s]], f.steps[f.at[earlier]] = nil, s
	f.at[s] = f.at[earlier]
}

// passing is a value of the arena that steps alone make and read.
func (v *Value) passing() bool { return !v.kept && v.of == nil && !v.lasts }

// inputs are what a step reads.
func (s *Step) inputs() []*Value {
	switch s.Kind {
	case Start:
		return []*Value{s.Reduction.In}
	case Wait:
		return nil
	}
	return s.Args[:len(s.Args)-s.Outputs]
}

// outputs are what a step writes.
func (s *Step) outputs() []*Value {
	switch s.Kind {
	case Start:
		return nil
	case Wait:
		return []*Value{s.Reduction.Out}
	}
	return s.Args[len(s.Args)-s.Outputs:]
}

// reads puts values in the place of the input v.
func (s *Step) reads(v *Value, with ...*Value) {
	i := slices.Index(s.Args, v)
	s.Args = slices.Concat(s.Args[:i], with, s.Args[i+1:])
}

// extend puts inputs behind the inputs, and results behind the results.
func (s *Step) extend(inputs, results []*Value) {
	s.Args = slices.Concat(s.inputs(), inputs, s.outputs(), results)
	s.Outputs += len(results)
}
