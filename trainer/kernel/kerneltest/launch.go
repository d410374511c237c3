package kerneltest

import (
	"math"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
)

// data is the host's copy of one argument; Real numbers are float64 that a float32 holds exactly, so that every set reads the same.
type data struct {
	real  []float64
	bytes []uint8
	ints  []int32
}

// guards are the elements before and behind a buffer that no kernel may touch: so many that it is aligned as the contract says, and not better.
var guards = [...]int{kernel.Real: 37, kernel.Byte: 37, kernel.Int: 37, kernel.Half: 48}

// workspaceGuard is that of a workspace.
const workspaceGuard = 48

// canary fills guards and the gaps between the groups' parts.
const canary = -775000.5

// canaryOf fills the guards of a type: one that it holds exactly.
func canaryOf(t kernel.Type) float64 {
	if t == kernel.Half {
		return bfloat16(canary)
	}
	return canary
}

// launcher runs one op on one set, in its blocks, and watches over its memory. What it takes and gives is plain.
type launcher struct {
	t      *testing.T
	set    kernel.Set
	stream kernel.Stream
	kernel kernel.Kernel
	op     kernel.Op // in the set's blocks
	args   []kernel.Arg
}

func newLauncher(t *testing.T, set kernel.Set, op kernel.Op) *launcher {
	t.Helper()
	own := owned(set.Traits(), op)
	k, err := set.Prepare(own)
	if err != nil {
		t.Fatalf("%s: %v", set.Name(), err)
	}
	return &launcher{t, set, set.NewStream(), k, own, own.Args()}
}

func (l *launcher) alloc(kind kernel.Type, n int) kernel.Memory {
	l.t.Helper()
	m, err := l.set.Alloc(kind, n)
	if err != nil {
		l.t.Fatalf("%s: %v", l.set.Name(), err)
	}
	if m.Len() != n || m.Type() != kind {
		l.t.Fatalf("%s: memory of %d elements of type %d, asked for %d of type %d", l.set.Name(), m.Len(), m.Type(), n, kind)
	}
	return m
}

// buffer gives memory with guards around it that holds d, and the part between the guards.
func (l *launcher) buffer(a kernel.Arg, d data) (guarded, inner kernel.Memory) {
	return l.guarded(a, d, guards[a.Type])
}

func (l *launcher) guarded(a kernel.Arg, d data, guard int) (guarded, inner kernel.Memory) {
	n := a.Len()
	guarded = l.alloc(a.Type, n+2*guard)
	switch a.Type {
	case kernel.Real, kernel.Half:
		all := filled(n+2*guard, canaryOf(a.Type))
		copy(all[guard:], d.real)
		l.stream.Write(guarded, all)
	case kernel.Byte:
		l.stream.Write(guarded, append(append(make([]uint8, guard), d.bytes...), make([]uint8, guard)...))
	case kernel.Int:
		l.stream.Write(guarded, append(append(make([]int32, guard), d.ints...), make([]int32, guard)...))
	}
	l.sync()
	return guarded, guarded.Slice(guard, guard+n)
}

func (l *launcher) sync() {
	l.t.Helper()
	if err := l.stream.Sync(); err != nil {
		l.t.Fatalf("%s: %v: %v", l.set.Name(), l.op, err)
	}
}

// run launches the op twice on fresh memory and gives the arguments as they were after the first time. alias is the argument whose memory another one shares, by number.
func (l *launcher) run(in []data, alias map[int]int) []data {
	l.t.Helper()
	out := l.once(in, alias)
	if again := l.once(in, alias); !equal(out, again) {
		l.t.Errorf("%s: %v: a second launch gave other bits", l.set.Name(), l.op)
	}
	return out
}

func (l *launcher) once(in []data, alias map[int]int) []data {
	l.t.Helper()
	guarded, memory := make([]kernel.Memory, len(l.args)), make([]kernel.Memory, len(l.args))
	for i, a := range l.args {
		if with, shared := alias[i]; shared {
			guarded[i], memory[i] = guarded[with], memory[with]
		} else {
			guarded[i], memory[i] = l.buffer(a, l.before(i, in[i]))
		}
	}
	launched := memory
	var scratch kernel.Memory
	if n := l.kernel.Workspace(); n > 0 {
		// The workspace holds anything at all: a kernel that reads it before it writes it gives NaN.
		a := kernel.Arg{Name: "workspace", Type: kernel.Real, Part: n, Parts: 1, Stride: n}
		var inner kernel.Memory
		scratch, inner = l.guarded(a, data{real: filled(n, math.NaN())}, workspaceGuard)
		launched = append(launched[:len(launched):len(launched)], inner)
	}
	l.kernel.Launch(l.stream, launched)
	out, tame := make([]data, len(l.args)), finite(l.args, in)
	for i, a := range l.args {
		out[i] = l.after(i, guarded[i], memory[i], tame)
		if _, shared := alias[i]; !shared && a.Access == kernel.In && !overwritten(alias, i) && !equal(out[i:i+1], in[i:i+1]) {
			l.t.Errorf("%s: %v: input %s was changed", l.set.Name(), l.op, a.Name)
		}
	}
	if scratch != nil {
		l.untouched("workspace", scratch, workspaceGuard)
	}
	return out
}

// launched runs op once on what it reads, in order, and gives what was written.
func launched(t *testing.T, set kernel.Set, op kernel.Op, read ...data) (written []data) {
	t.Helper()
	l := newLauncher(t, set, op)
	in := make([]data, len(l.args))
	for i, a := range l.args {
		if a.Access != kernel.Out {
			in[i], read = read[0], read[1:]
		}
	}
	for i, d := range l.once(in, nil) {
		if l.args[i].Access != kernel.In {
			written = append(written, d)
		}
	}
	return written
}

func overwritten(alias map[int]int, i int) bool {
	for _, with := range alias {
		if with == i {
			return true
		}
	}
	return false
}

// before is what argument i holds before the launch: what is to be overwritten holds NaN, the gaps between parts canaries.
func (l *launcher) before(i int, d data) data {
	a := l.args[i]
	switch {
	case a.Type != kernel.Real && a.Type != kernel.Half:
		return d
	case l.packs(a):
		return data{real: packed(l.op, d.real)}
	case a.Channels > 0 && a.Access != kernel.Out:
		return data{real: blocked(a, max(l.op.Block, 1), d.real)}
	}
	held := filled(a.Len(), canary)
	for p := range a.Parts {
		part := held[p*a.Stride : p*a.Stride+a.Part]
		if a.Access == kernel.Out {
			copy(part, filled(a.Part, math.NaN()))
		} else {
			copy(part, d.real[p*a.Stride:])
		}
	}
	return data{real: held}
}

// after is what argument i holds now; its guards and gaps must be as they were, and the channels that fill the last block zeros, but for NaN from inputs that were not finite.
func (l *launcher) after(i int, guarded, inner kernel.Memory, tame bool) (d data) {
	l.t.Helper()
	a := l.args[i]
	switch a.Type {
	case kernel.Byte:
		d.bytes = make([]uint8, inner.Len())
		l.stream.Read(d.bytes, inner)
		l.sync()
	case kernel.Int:
		d.ints = make([]int32, inner.Len())
		l.stream.Read(d.ints, inner)
		l.sync()
	case kernel.Real, kernel.Half:
		l.untouched(a.Name, guarded, guards[a.Type])
		d.real = make([]float64, inner.Len())
		l.stream.Read(d.real, inner)
		l.sync()
		for i, v := range d.real {
			if i%a.Stride >= a.Part && v != canary {
				l.t.Errorf("%s: %v: %s: element %d, between two groups' parts, was written", l.set.Name(), l.op, a.Name, i)
				break
			}
		}
		if a.Channels > 0 {
			plain, beyond := unblocked(a, max(l.op.Block, 1), d.real)
			if d.real = plain; beyond != 0 && (tame || beyond == beyond) {
				l.t.Errorf("%s: %v: %s holds %v beyond its %d channels, want zeros", l.set.Name(), l.op, a.Name, beyond, a.Channels)
			}
		}
		if l.packs(a) {
			d.real = unpacked(l.op, d.real)
		}
	}
	return d
}

// packs says whether an argument is packed weights.
func (l *launcher) packs(a kernel.Arg) bool { return l.op.Half && a.Name == "w" }

// untouched holds that nothing was written beside a buffer.
func (l *launcher) untouched(name string, guarded kernel.Memory, guard int) {
	l.t.Helper()
	all := make([]float64, guarded.Len())
	l.stream.Read(all, guarded)
	l.sync()
	want := canaryOf(guarded.Type())
	for i := range guard {
		if all[i] != want || all[len(all)-1-i] != want {
			l.t.Errorf("%s: %v: wrote outside of %s", l.set.Name(), l.op, name)
			return
		}
	}
}

// finite says whether all numbers that are read are.
func finite(args []kernel.Arg, in []data) bool {
	for i, a := range args {
		for _, v := range in[i].real {
			if a.Access != kernel.Out && v-v != 0 {
				return false
			}
		}
	}
	return true
}

func filled(n int, v float64) []float64 {
	s := make([]float64, n)
	for i := range s {
		s[i] = v
	}
	return s
}

// equal says whether a and b have the same bits; NaN is NaN.
func equal(a, b []data) bool {
	for i := range a {
		if len(a[i].real) != len(b[i].real) || string(a[i].bytes) != string(b[i].bytes) || len(a[i].ints) != len(b[i].ints) {
			return false
		}
		for j, v := range a[i].real {
			if w := b[i].real[j]; math.Float64bits(v) != math.Float64bits(w) && (v == v || w == w) {
				return false
			}
		}
		for j, v := range a[i].ints {
			if v != b[i].ints[j] {
				return false
			}
		}
	}
	return true
}
