package program

// Logits writes the logits of n images [n][classes]: pixels [n][C][H][W], geometry [n][3], nil for the images as they are. An image's logits do
// not depend on the others, nor on how many go through at once.
func (p *Inference) Logits(pixels []byte, geometry []int32, n int, out []float32) error {
	if n <= p.images {
		return p.block(pixels, geometry, n, out)
	}
	if geometry == nil {
		geometry = originals(n, p.pad)
	}
	if err := checkInput(p.spec, n, p.most, pixels, geometry, out); err != nil {
		return err
	}
	return inBlocks(n, p.images, func(from, to int) error {
		return p.block(part(pixels, n, from, to), part(geometry, n, from, to), to-from, part(out, n, from, to))
	})
}

// SquaredNorms writes the squared norms of n images [n][classes] to out; pixels [n][C][H][W], the images as they are. An image's do not depend on the others.
func (p *SquaredNorm) SquaredNorms(pixels []byte, n int, out []float32) error {
	if n <= p.images {
		return p.block(pixels, n, out)
	}
	if err := checkInput(p.spec, n, p.most, pixels, originals(n, 0), out); err != nil {
		return err
	}
	return inBlocks(n, p.images, func(from, to int) error {
		return p.block(part(pixels, n, from, to), to-from, part(out, n, from, to))
	})
}

// inBlocks calls do for images [from, to), so many at once, of n.
func inBlocks(n, atOnce int, do func(from, to int) error) error {
	for from := 0; from < n; from += atOnce {
		if err := do(from, min(from+atOnce, n)); err != nil {
			return err
		}
	}
	return nil
}

// part is what belongs to images [from, to) of n.
func part[E any](v []E, n, from, to int) []E { return v[len(v)/n*from : len(v)/n*to] }
