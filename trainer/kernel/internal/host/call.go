package host

import (
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
)

// Call is an op with the memory of its present launch.
type Call[F Real] struct {
	kernel.Op
	Args    []kernel.Arg
	Scratch int // Real elements of workspace
	mem     []Memory[F]
}

// NewCall is a call of a checked op.
func NewCall[F Real](op kernel.Op) Call[F] {
	args := op.Args()
	return Call[F]{Op: op, Args: args, mem: make([]Memory[F], len(args)+1)}
}

// Bind takes the arguments of a launch, each cut to its length. One that does not fit is a broken invariant. It does not allocate.
func (c *Call[F]) Bind(args []kernel.Memory) {
	n := len(c.Args)
	if c.Scratch > 0 {
		n++
	}
	if len(args) != n {
		panic(fmt.Sprintf("kernel: %v takes %d arguments, got %d", c.Op, n, len(args)))
	}
	for i, arg := range args {
		m, length, kind := Of[F](arg), c.Scratch, kernel.Real
		if i < len(c.Args) {
			length, kind = c.Args[i].Len(), c.Args[i].Type
		}
		if m.kind != kind || m.Len() < length {
			panic(fmt.Sprintf("kernel: argument %d of %v has %d elements of type %d, wants %d of type %d", i, c.Op, m.Len(), m.kind, length, kind))
		}
		switch kind {
		case kernel.Real:
			c.mem[i].Real = m.Real[:length]
		case kernel.Byte:
			c.mem[i].Byte = m.Byte[:length]
		case kernel.Int:
			c.mem[i].Int = m.Int[:length]
		}
	}
}

// Release forgets the arguments: a kernel keeps none.
func (c *Call[F]) Release() { clear(c.mem) }

// Real is all of argument i; the workspace comes after the last.
func (c *Call[F]) Real(i int) []F { return c.mem[i].Real }

// Byte is all of argument i.
func (c *Call[F]) Byte(i int) []uint8 { return c.mem[i].Byte }

// Int is all of argument i.
func (c *Call[F]) Int(i int) []int32 { return c.mem[i].Int }

// Part is group g's part of argument i: the one part of an argument that all groups share.
func (c *Call[F]) Part(i, g int) []F {
	a := &c.Args[i]
	if a.Parts == 1 {
		g = 0
	}
	return c.mem[i].Real[g*a.Stride : g*a.Stride+a.Part]
}
