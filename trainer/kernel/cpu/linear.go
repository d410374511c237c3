package cpu

import "github.com/dither-ml/dither/trainer/kernel/cpu/vector"

// A linear layer is a product of rows of images: eight at a time, so that weights are read once for them.

const linearRows = 8

// rowsOf copies rows [from, to) of v, width each, to dst, `pitch` elements apart, with zeros behind and below, up to so many rows.
func rowsOf(dst, v []float32, width, pitch, from, to, rows int) {
	for i := range rows {
		row := dst[i*pitch:][:pitch]
		if from+i < to {
			clear(row[copy(row, v[(from+i)*width:][:width]):])
		} else {
			clear(row)
		}
	}
}

// addProduct adds steps for out [M][cols] = argument x [M][depth] times the weights u [depth][cols], of which pack lays the rows [from, to) into place (cols in whole vectors, what is behind them cleared); finish gets each row.
func (k *prepared) addProduct(x, depth, cols int, pack func(u []float32, width, from, to int), finish func(n int, row []float32)) {
	width := whole(cols)
	u := k.reserve(depth * width)
	m := k.Groups * k.N
	scratch := linearRows * (whole(depth) + width)
	own := k.reserve(k.pool.threads * scratch)
	shapes := make([]vector.Product, k.pool.threads)
	k.add(ceil(depth, lanes), depth*width, func(_, unit int) {
		from, to := unit*lanes, min((unit+1)*lanes, depth)
		rows := k.workspace(u+from*width, (to-from)*width)
		for i := range to - from {
			clear(rows[i*width:][cols:width])
		}
		pack(rows, width, from, to)
	})
	k.add(ceil(m, linearRows), m*depth*width/8, func(worker, unit int) {
		from := unit * linearRows
		mine := k.workspace(own+worker*scratch, scratch)
		rows, sums := mine[:linearRows*whole(depth)], mine[linearRows*whole(depth):]
		rowsOf(rows, k.Real(x), depth, whole(depth), from, m, linearRows)
		shape := &shapes[worker]
		*shape = vector.Product{Positions: 1, Rows: linearRows, Depth: depth, Cols: width, LeftRow: whole(depth)}
		k.v.Multiply(shape, &rows[0], &k.workspace(u, depth*width)[0], &sums[0], nil, nil)
		for n := from; n < min(from+linearRows, m); n++ {
			finish(n, sums[(n-from)*width:][:cols])
		}
	})
}

// vectorOf is image n's numbers among v, width for each image.
func vectorOf(v []float32, n, width int) []float32 { return v[n*width : (n+1)*width] }

func planLinearForward(k *prepared) {
	sources, targets := multiples(k.K, k.C), multiples(lanes, whole(k.K))
	k.addProduct(0, k.C, k.K, func(u []float32, _, from, to int) {
		k.v.Transpose(&u[0], &targets[0], &k.Real(1)[from], &sources[0], k.K, to-from)
	}, func(n int, row []float32) { k.v.Add(&vectorOf(k.Real(3), n, k.K)[0], &row[0], &k.Real(2)[0], k.K) })
}

// multiples are n multiples of step, from 0 on: places for vector.Transpose.
func multiples(n, step int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i * step
	}
	return all
}

func planLinearDataGrad(k *prepared) {
	k.addProduct(0, k.K, k.C, func(u []float32, width, from, to int) {
		for o := from; o < to; o++ {
			copy(u[(o-from)*width:], vectorOf(k.Real(1), o, k.C))
		}
	}, func(n int, row []float32) { copy(vectorOf(k.Real(2), n, k.C), row) })
}

func planLinearWeightGrad(k *prepared) { k.addOuter(1, 0, k.K, k.C, 2) }

// planLinearBiasGrad adds up dy: a chain over a block of images, then the tree.
func planLinearBiasGrad(k *prepared) {
	parts := k.reserve(k.Groups * k.imageBlocks() * k.K)
	k.add(k.Groups*k.imageBlocks(), k.Groups*k.N*k.K, func(_, unit int) {
		_, from, to := k.block(unit)
		sum := k.workspace(parts+unit*k.K, k.K)
		clear(sum)
		for n := from; n < to; n++ {
			k.v.Add(&sum[0], &sum[0], &vectorOf(k.Real(0), n, k.K)[0], k.K)
		}
	})
	k.addTree(parts, k.K, func(g int, sum []float32) { copy(k.Part(1, g), sum) })
}

// planLinearSquares uses that the weight gradient of one image is an outer product, whose norm is the product of the norms.
func planLinearSquares(k *prepared) {
	k.addBlocks(k.Groups*k.N*(k.C+k.K), func(_, _, n int) {
		x, dy := squaredLength(vectorOf(k.Real(0), n/k.Repeats(), k.C)), squaredLength(vectorOf(k.Real(1), n, k.K))
		k.Real(2)[n] += float32(dy*x) + dy
	})
}

// squaredLength is the chain of the squares of v.
func squaredLength(v []float32) (sum float32) {
	for _, x := range v {
		sum += float32(x * x)
	}
	return sum
}
