package ols

import "math"

// moving gathers the moments of one chain as it runs, in memory that does not grow. Iterates are taken less a centre near their mean, so that no digits cancel; sums are first over a
// stretch of at most chunk iterates, then over the segment, then over all: errors of rounding stay those of short sums.
type moving struct {
	d      int
	center []float64
	burn   int64
	length int64 // iterations of a segment; 0: all are in the rest
	count  int   // segments, without the rest
	// [count+1][d + d(d+1)/2]: for each segment, and then for the rest that is no whole segment, sums of e and of e_i e_j, i <= j.
	sums  []float64
	short []float64 // [d + d(d+1)/2]
}

// Segments from whose spread the standard errors come: as many as maxSegments, but each of at least segmentMixing mixing times, and no errors from fewer than minSegments.
const (
	maxSegments   = 100
	minSegments   = 10
	segmentMixing = 20
)

func newMoving(center []float64, iterations, burn int64, mixing float64) *moving {
	m := &moving{d: len(center), center: center, burn: burn}
	if left := float64(iterations - burn); left >= minSegments*segmentMixing*mixing && left >= minSegments {
		m.count = min(maxSegments, int(left/math.Max(1, segmentMixing*mixing)))
		m.length = (iterations - burn) / int64(m.count)
	}
	size := m.width()
	m.sums = make([]float64, (m.count+1)*size)
	m.short = make([]float64, size)
	return m
}

func (m *moving) width() int { return m.d + m.d*(m.d+1)/2 }

// add takes iterates k+1, k+2, ... [n][d]. It is false where the sum of their squares is beyond what a chain that settles can have: then look at them.
func (m *moving) add(k int64, betas []float64) bool {
	sane := true
	for len(betas) > 0 {
		n := int64(len(betas) / m.d)
		segment := -1
		if k < m.burn {
			n = min(n, m.burn-k)
		} else {
			segment = m.count
			if m.count > 0 {
				if at := (k - m.burn) / m.length; at < int64(m.count) {
					segment = int(at)
					n = min(n, m.burn+(at+1)*m.length-k)
				}
			}
		}
		part := betas[:n*int64(m.d)]
		if m.d == 2 {
			m.sum2(part)
		} else {
			m.sum(part)
		}
		at := m.d
		for i := range m.d {
			sane = sane && m.short[at] < 1e298
			at += m.d - i
		}
		if segment >= 0 {
			total := m.sums[segment*m.width() : (segment+1)*m.width()]
			for i, v := range m.short {
				total[i] += v
			}
		}
		k += n
		betas = betas[len(part):]
	}
	return sane
}

func (m *moving) sum(betas []float64) {
	clear(m.short)
	e := make([]float64, m.d)
	for ; len(betas) > 0; betas = betas[m.d:] {
		for i := range e {
			e[i] = betas[i] - m.center[i]
			m.short[i] += e[i]
		}
		at := m.d
		for i, x := range e {
			for _, y := range e[i:] {
				m.short[at] += float64(x * y)
				at++
			}
		}
	}
}

// sum2 is sum for d = 2, in registers.
func (m *moving) sum2(betas []float64) {
	c0, c1 := m.center[0], m.center[1]
	var s0, s1, s00, s01, s11 float64
	for i := 1; i < len(betas); i += 2 {
		x, y := betas[i-1]-c0, betas[i]-c1
		s0 += x
		s1 += y
		s00 += float64(x * x)
		s01 += float64(x * y)
		s11 += float64(y * y)
	}
	m.short[0], m.short[1], m.short[2], m.short[3], m.short[4] = s0, s1, s00, s01, s11
}

// into gives what was gathered over iterations up to k.
func (m *moving) into(p *Path, k int64) {
	n := float64(k - m.burn)
	if n <= 0 {
		return
	}
	d := m.d
	total := make([]float64, m.width())
	for s := 0; s <= m.count; s++ {
		for i := range total {
			total[i] += m.sums[s*m.width()+i]
		}
	}
	mean := make([]float64, d) // less the centre
	p.Mean = make([]float64, d)
	for i := range mean {
		mean[i] = total[i] / n
		p.Mean[i] = m.center[i] + mean[i]
	}
	p.Covariance = square(d)
	m.each(func(i, j, at int) {
		p.Covariance[i][j] = total[at]/n - mean[i]*mean[j]
		p.Covariance[j][i] = p.Covariance[i][j]
	})
	if m.count == 0 || k < m.burn+int64(m.count)*m.length {
		return
	}
	p.Segments = m.count
	p.MeanError = make([]float64, d)
	p.CovarianceError = square(d)
	length := float64(m.length)
	for i := range mean {
		p.MeanError[i] = m.spread(func(sums []float64) float64 { return sums[i] / length })
	}
	m.each(func(i, j, at int) {
		// About the mean of all, not of the segment, which would take part of the variance.
		p.CovarianceError[i][j] = m.spread(func(sums []float64) float64 {
			return sums[at]/length - mean[i]*sums[j]/length - mean[j]*sums[i]/length + mean[i]*mean[j]
		})
		p.CovarianceError[j][i] = p.CovarianceError[i][j]
	})
}

// each visits the pairs i <= j, and where their sum is.
func (m *moving) each(do func(i, j, at int)) {
	at := m.d
	for i := range m.d {
		for j := i; j < m.d; j++ {
			do(i, j, at)
			at++
		}
	}
}

// spread is the standard error of the mean over segments of what of gives for each.
func (m *moving) spread(of func(sums []float64) float64) float64 {
	mean, squares := 0.0, 0.0
	for s := range m.count {
		// Welford's recursion: the values may differ little.
		v := of(m.sums[s*m.width() : (s+1)*m.width()])
		delta := v - mean
		mean += delta / float64(s+1)
		squares += delta * (v - mean)
	}
	return math.Sqrt(squares / float64(m.count-1) / float64(m.count))
}
