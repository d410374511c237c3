package ols

import (
	"math"
	"math/bits"

	"github.com/dither-ml/dither/noise/philox"
)

// chunk is how many iterations a chain goes on at a time. Even: a block of batches serves two.
const chunk = 1024

// engine takes one chain on. Every engine rounds alike: with p over the places of the batch in the order of the draws,
//
//	r_p = ((x_p1 b_1 + x_p2 b_2) + ...) - y_p     (with noise at each iteration, y_p + sqrt(sigma2) z_p),
//	s_j = ((x_1j r_1 + x_2j r_2) + ...),          b_j <- b_j - (eta/B) s_j,
//
// each product and sum rounded by itself, so that the bits of a path are those of the setting on every platform.
type engine interface {
	// advance makes iterates k+1, k+2, ... of beta, writes them to out [n][d], n <= chunk, and leaves the last in beta. k is a multiple of chunk.
	advance(k int64, beta, out []float64)
}

// newEngine chooses the fast engine where it can.
func newEngine(s *Setting, data *Data) engine {
	if p := newPacked(s, data); p != nil {
		return p
	}
	return newGeneral(s, data)
}

// general is the engine for every setting.
type general struct {
	s         *Setting
	data      *Data
	plan      plan
	step      float64
	deviation float64 // of noise at each iteration
	batch     []uint32
	taken     []bool
	noise     []float64
	sum       []float64
}

func newGeneral(s *Setting, data *Data) *general {
	g := &general{
		s: s, data: data, plan: s.plan(), step: s.Eta / float64(s.Batch),
		batch: make([]uint32, s.Batch), taken: make([]bool, s.N), sum: make([]float64, s.dim()),
	}
	if s.Refresh == Iteration && s.Sigma2 > 0 {
		g.deviation = math.Sqrt(s.Sigma2)
		g.noise = make([]float64, (s.Batch+3)/4*4)
	}
	return g
}

func (g *general) advance(k int64, beta, out []float64) {
	d := len(beta)
	for ; len(out) > 0; out = out[d:] {
		k++
		g.plan.batch(k, g.batch, g.taken)
		if g.noise != nil {
			g.s.noiseAt(k, g.noise)
		}
		clear(g.sum)
		for place, i := range g.batch {
			x, y := g.data.X[i], g.data.Y[i]
			if g.noise != nil {
				y += float64(g.deviation * g.noise[place])
			}
			r := 0.0
			for j, v := range x {
				r += float64(v * beta[j])
			}
			r -= y
			for j, v := range x {
				g.sum[j] += float64(v * r)
			}
		}
		for j, v := range g.sum {
			beta[j] -= float64(g.step * v)
		}
		copy(out, beta)
	}
}

// What packed can hold: a sample's number is a byte, a batch a word of bytes.
const (
	packedSamples = 256
	packedBatch   = 8
)

// packed is the engine for two dimensions, labels that stay, and batches that are drawn from one word and fit one word. An iterate must wait for the one before; the batches need not, so
// that the processor draws those of later iterations meanwhile.
type packed struct {
	seed    uint64
	stream  uint32
	batch   int
	five    bool // five without replacement, as Figure 1 has it
	step    float64
	samples [packedSamples][4]float64 // x_1, x_2, y, nothing: a byte cannot be out of bounds
	count   [packedBatch]uint64       // below what each place of the batch is drawn
	before  [packedBatch]uint64       // the bytes of the places before, which it must differ from; none with replacement
}

// packs says whether a setting fits.
func (s *Setting) packs() bool {
	plan := s.plan()
	return s.dim() == 2 && s.Refresh == Once && s.N <= packedSamples && s.Batch <= packedBatch && plan.words == 1
}

// newPacked is nil where a setting does not fit.
func newPacked(s *Setting, data *Data) *packed {
	if !s.packs() {
		return nil
	}
	p := &packed{seed: s.Seed, stream: s.Stream, batch: s.Batch, five: s.Batch == 5 && !s.Replacement, step: s.Eta / float64(s.Batch)}
	for i, x := range data.X {
		p.samples[i] = [4]float64{x[0], x[1], data.Y[i]}
	}
	for i := range s.Batch {
		p.count[i] = uint64(s.N)
		if !s.Replacement {
			p.count[i] = uint64(s.N - s.Batch + i + 1)
			p.before[i] = 1<<(8*i) - 1
		}
	}
	return p
}

func (p *packed) advance(k int64, beta, out []float64) {
	b0, b1 := beta[0], beta[1]
	for q := uint64(k) / 2; len(out) > 0; q++ {
		w, v := philox.Words(p.seed, philox.OLSBatch, uint32(q), p.stream, uint32(q>>32))
		if p.five {
			w, v = p.pack5(w), p.pack5(v)
		} else {
			w, v = p.pack(w), p.pack(v)
		}
		b0, b1 = p.iterate(w, b0, b1)
		out[0], out[1] = b0, b1
		if out = out[2:]; len(out) == 0 {
			break
		}
		b0, b1 = p.iterate(v, b0, b1)
		out[0], out[1] = b0, b1
		out = out[2:]
	}
	beta[0], beta[1] = b0, b1
}

// iterate is one iteration on the samples whose numbers are the bytes of w.
func (p *packed) iterate(w uint64, b0, b1 float64) (float64, float64) {
	var s0, s1 float64
	for range p.batch {
		x := &p.samples[uint8(w)]
		w >>= 8
		r := float64(x[0]*b0) + float64(x[1]*b1) - x[2]
		s0 += float64(x[0] * r)
		s1 += float64(x[1] * r)
	}
	return b0 - float64(p.step*s0), b1 - float64(p.step*s1)
}

const (
	eachByte = 0x0101010101010101
	topBits  = 0x8080808080808080
)

// pack is the batch of a word of draws, the first sample in the lowest byte.
func (p *packed) pack(u uint64) uint64 {
	var w, t uint64
	for i := 0; i < p.batch; i++ {
		i := i & (packedBatch - 1)
		t, u = bits.Mul64(u, p.count[i])
		// A byte of x is 0 where t was drawn before; the lowest such byte, and no lower one, has its top bit set in hit.
		x := w ^ t*eachByte
		hit := (x - eachByte) &^ x & topBits & p.before[i]
		if hit != 0 {
			t = p.count[i] - 1
		}
		w |= t << (8 * i)
	}
	return w
}

// pack5 is pack for five without replacement: moves on a condition, no branch.
func (p *packed) pack5(u uint64) uint64 {
	n := p.count[4]
	a, u := bits.Mul64(u, n-4)
	b, u := bits.Mul64(u, n-3)
	c, u := bits.Mul64(u, n-2)
	d, u := bits.Mul64(u, n-1)
	e, _ := bits.Mul64(u, n)
	if b == a {
		b = n - 4
	}
	t := c
	if t == a {
		c = n - 3
	}
	if t == b {
		c = n - 3
	}
	t = d
	if t == a {
		d = n - 2
	}
	if t == b {
		d = n - 2
	}
	if t == c {
		d = n - 2
	}
	t = e
	if t == a {
		e = n - 1
	}
	if t == b {
		e = n - 1
	}
	if t == c {
		e = n - 1
	}
	if t == d {
		e = n - 1
	}
	return a | b<<8 | c<<16 | d<<24 | e<<32
}
