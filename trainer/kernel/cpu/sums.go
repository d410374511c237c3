package cpu

import "github.com/dither-ml/dither/trainer/kernel"

// addTree adds a step that adds up, for every group, the blocks' parts of width elements that earlier steps left at a place of the workspace, and gives the sum to finish.
func (k *prepared) addTree(place, width int, finish func(g int, sum []float32)) {
	nb := k.imageBlocks()
	k.add(k.Groups, k.Groups*nb*width, func(_, g int) {
		parts := k.workspace(place+g*nb*width, nb*width)
		k.tree(parts, width, 0, nb, 0, width)
		finish(g, parts[:width])
	})
}

// tree adds up elements [from, to) of the parts [a, b), each of width, into part a.
func (k *prepared) tree(parts []float32, width, a, b, from, to int) {
	if b-a < 2 {
		return
	}
	m := kernel.Split(a, b)
	k.tree(parts, width, a, m, from, to)
	k.tree(parts, width, m, b, from, to)
	left := &parts[a*width+from]
	k.v.Add(left, left, &parts[m*width+from], to-from)
}

// tree64 is the sum of leaf(i) over [a, b).
func tree64(a, b int, leaf func(i int) float64) float64 {
	if b-a < 2 {
		return leaf(a)
	}
	m := kernel.Split(a, b)
	return tree64(a, m, leaf) + tree64(m, b, leaf)
}

// byHalves adds lanes up: lane l takes lane l+8, then l+4, l+2, l+1.
func byHalves(v []float32) float32 {
	for half := lanes / 2; half > 0; half /= 2 {
		for i := range half {
			v[i] += v[i+half]
		}
	}
	return v[0]
}
