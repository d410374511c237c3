// Package program lowers a model's graph to ordered steps over planned buffers and executes them on a kernel set. The steps are data: what
// computes, what it reads and writes, and where the shards of all trainers are summed (a collective). Lowering (lower.go, gradient.go), passes
// that fuse (flow.go, fuse*.go), planning (plan.go), allocation (machine.go) and execution (run.go) are apart.
package program

import (
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
)

// Collective sums over all shards of the run in the fixed tree; package allreduce is one.
type Collective interface {
	// Start hands in this trainer's shards in order, [n] each; they stay as they are until Wait has returned.
	Start(id uint32, shards [][]float32)
	// Wait writes the sum over all shards of the run [n].
	Wait(id uint32, sum []float32) error
}

// Value is what steps read and write: a piece of memory, given or planned.
type Value struct {
	Name    string
	Len     int           // elements, over all groups and images
	Memory  kernel.Memory // nil until the program is built
	kept    bool          // memory of its own (parameters, inputs, buckets); else elements of the arena of its type
	kind    kernel.Type   // Real or Half in an arena
	lasts   bool          // lives to the end, whatever the steps say
	alias   *Value        // shares that value's place: an in-place step
	of      *Value        // is a piece of that value,
	from    int           // beginning there
	offset  int           // in the arena, or among what is kept
	planned bool          // it has a place there
}

// piece is the elements [from, from+n) of v.
func (v *Value) piece(name string, from, n int) *Value {
	return &Value{Name: name, Len: n, kind: v.kind, of: v, from: from}
}

// root is the value in whose place this one lies.
func (v *Value) root() *Value {
	for v.alias != nil || v.of != nil {
		if v.alias != nil {
			v = v.alias
		} else {
			v = v.of
		}
	}
	return v
}

// bind settles the memory of a value, given the arenas.
func (v *Value) bind(arenas map[kernel.Type]kernel.Memory) kernel.Memory {
	if v.Memory == nil {
		switch {
		case v.alias != nil:
			v.Memory = v.alias.bind(arenas)
		case v.of != nil:
			v.Memory = v.of.bind(arenas).Slice(v.from, v.from+v.Len)
		default:
			v.Memory = arenas[v.kind].Slice(v.offset, v.offset+v.Len)
		}
	}
	return v.Memory
}

// StepKind says what a step does.
type StepKind uint8

const (
	Compute StepKind = iota + 1 // launch Op on Args
	Start                       // hand Reduction's input to the collective
	Wait                        // wait for Reduction's sum
)

// Step is one entry of a program.
type Step struct {
	Kind      StepKind
	Op        kernel.Op
	Args      []*Value // as the Op's Kind lists them
	Outputs   int      // the last so many of Args are written
	Reduction *Reduction
}

// Reduction is a sum over all shards of the run, of a piece of each group's part of a memory.
type Reduction struct {
	ID    uint32
	In    *Value // [groups][stride]
	From  int    // the piece of each group's part: [From, From+Len)
	Len   int
	split int    // stride of In's groups
	Out   *Value // [Len]

	shards [][]float32      // as the host sees them
	sum    []float32        //
	parts  []*port[float32] // what shards and sum are copies of, where the set's memory is not the host's; else nil
	total  *port[float32]
	leaves *departure // of parts
}

// same says whether two are one reduction of several groups of shards; nil is nothing but nil.
func (r *Reduction) same(other *Reduction) bool {
	if r == nil || other == nil {
		return r == other
	}
	return r.ID == other.ID && r.Len == other.Len
}

func (s *Step) String() string {
	switch s.Kind {
	case Start:
		return fmt.Sprintf("start collective %d: %d floats of %s", s.Reduction.ID, s.Reduction.Len, s.Reduction.In.Name)
	case Wait:
		return fmt.Sprintf("wait for collective %d", s.Reduction.ID)
	}
	text := s.Op.String() + " (" // names, results after an arrow
	for i, a := range s.Args {
		switch {
		case i == len(s.Args)-s.Outputs && i == 0:
		case i == len(s.Args)-s.Outputs:
			text += " -> "
		case i > 0:
			text += ", "
		}
		text += a.Name
	}
	return text + ")"
}
