package vector

import (
	"math"
	"math/rand/v2"
	"slices"
	"unsafe"
)

// memory is the buffers of one call, each with guards before and behind it, and in the gaps between its strided parts.
type memory struct {
	r       *rand.Rand
	value   func(r *rand.Rand) float32
	buffers []buffer
}

type buffer struct {
	all   []float32
	first int // where the pointer points
	size  int // elements from there that are the call's
}

const (
	guard  = 4 * Lanes  // elements
	canary = 1234567.89 // what guards hold
)

// dim is n parts of a buffer, stride elements apart.
type dim struct{ n, stride int }

// add makes a buffer of parts within parts, filled with values. It may begin at any element of a cache line.
func (m *memory) add(dims ...dim) (index int) {
	size := 1
	for _, d := range dims {
		size += max(d.n-1, 0) * d.stride
	}
	skip := m.r.IntN(2) * m.r.IntN(Lanes)
	all := make([]float32, guard+Lanes+skip+size+guard)
	line := -int(uintptr(unsafe.Pointer(&all[0]))) / 4 & (Lanes - 1)
	for i := range all {
		all[i] = canary
	}
	b := buffer{all, guard + line + skip, size}
	m.fill(b.all[b.first:], dims)
	m.buffers = append(m.buffers, b)
	return len(m.buffers) - 1
}

func (m *memory) fill(at []float32, dims []dim) {
	if len(dims) == 0 {
		at[0] = m.value(m.r)
		return
	}
	for i := range dims[0].n {
		m.fill(at[i*dims[0].stride:], dims[1:])
	}
}

// clone is the memory once more, elsewhere.
func (m *memory) clone() *memory {
	c := &memory{buffers: slices.Clone(m.buffers)}
	for i := range c.buffers {
		c.buffers[i].all = slices.Clone(c.buffers[i].all)
	}
	return c
}

// p is the pointer to buffer i's first element.
func (m *memory) p(i int) *float32 { return &m.buffers[i].all[m.buffers[i].first] }

// between is lo or more, often lo itself.
func (m *memory) between(lo, hi int) int { return lo + m.r.IntN(2)*m.r.IntN(hi-lo+1) }

func same(x, y float32) bool {
	return math.Float32bits(x) == math.Float32bits(y) || x != x && y != y
}

// difference is the first element in which the memories differ: element i of a buffer, counted from where its pointer points.
func (m *memory) difference(o *memory) (buffer, i int, differ bool) {
	for b := range m.buffers {
		for i, v := range m.buffers[b].all {
			if !same(v, o.buffers[b].all[i]) {
				return b, i - m.buffers[b].first, true
			}
		}
	}
	return 0, 0, false
}

// kinds of values; every call has one.
var kinds = map[string]func(r *rand.Rand) float32{
	"normal": func(r *rand.Rand) float32 { return float32(r.NormFloat64()) },
	// Sums of few bits are just between two float32, or 0.
	"short": short,
	// Products and sums among the denormals.
	"tiny":      func(r *rand.Rand) float32 { return float32(math.Ldexp(r.NormFloat64(), -60-r.IntN(90))) },
	"wide":      func(r *rand.Rand) float32 { return float32(math.Ldexp(r.NormFloat64(), r.IntN(270)-145)) },
	"rectified": func(r *rand.Rand) float32 { return float32(max(0, r.NormFloat64())) },
	"special": func(r *rand.Rand) float32 {
		special := []float32{0, float32(math.Copysign(0, -1)), 0x1p-149, -0x1p-149, 0x1p-126, -0x1.fffffcp-127, 1, -1, math.MaxFloat32, -math.MaxFloat32}
		if r.IntN(40) == 0 {
			special = []float32{float32(math.Inf(1)), float32(math.Inf(-1)), math.Float32frombits(0x7f800001), math.Float32frombits(0xffffffff)}
		}
		if r.IntN(4) > 0 {
			return float32(r.NormFloat64())
		}
		return special[r.IntN(len(special))]
	},
	"bits": func(r *rand.Rand) float32 { return math.Float32frombits(r.Uint32()) },
}

// short is a number of few bits with an exponent from a narrow range.
func short(r *rand.Rand) float32 {
	return float32(math.Ldexp(float64(r.IntN(1<<r.IntN(13)))*float64(1-2*r.IntN(2)), r.IntN(24)-12))
}
