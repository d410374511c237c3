package cpu

import "unsafe"

// Every convolution comes down to one small matrix product, a tile: the rows of a panel times its 2 columns of chains, whose sums stay in registers.
// The rows' factors lie as [terms][rows], the columns' as [terms][2], in panels padded with zeros to a whole number of 4 terms; the chains as [2][rows].
const (
	tileCols  = 2
	tileTerms = 4 // unrolled in a loop's body
	tileMany  = 4 // column panels that a tile takes together, so that there are chains enough to hide an addition's latency
)

// tiler computes tiles of so many rows. Both functions go on with the chains c through all terms: one of a column panel, many of tileMany column
// panels, stride elements apart, whose chains lie one after the other. A pointer is to the first element; turns is depth(terms).
type tiler struct {
	name      string
	rows      int
	one, many func(rows, cols *float32, stride, turns int, c *float32)
}

// chains is the elements of a tile's chains.
func (t *tiler) chains() int { return tileCols * t.rows }

// generic is the tiler in plain Go.
var generic = tiler{"generic", genericRows, tile, func(rows, cols *float32, stride, turns int, c *float32) {
	columns, chains := unsafe.Slice(cols, (tileMany-1)*stride+1), unsafe.Slice(c, tileMany*tileCols*genericRows)
	for p := range tileMany {
		tile(rows, &columns[p*stride], stride, turns, &chains[p*tileCols*genericRows])
	}
}}

const genericRows = 4

// rowTerms and colTerms are one turn of the tile's loop: arrays, so that the compiler checks no bounds within.
type (
	rowTerms [tileTerms * genericRows]float32
	colTerms [tileTerms * tileCols]float32
)

// depth is the turns that a chain of terms takes.
func depth(terms int) int { return (terms + tileTerms - 1) / tileTerms }

// rowPanel and colPanel are the elements of a panel.
func (t *tiler) rowPanel(terms int) int { return depth(terms) * tileTerms * t.rows }
func colPanel(terms int) int            { return depth(terms) * len(colTerms{}) }

func ceil(a, b int) int { return (a + b - 1) / b }

// whole rounds n elements up to whole cache lines.
func whole(n int) int { return ceil(n, 16) * 16 }

// tile goes on with the chains [2][4] of one column panel.
func tile(rowPanel, colPanel *float32, _, turns int, chains *float32) {
	rows := unsafe.Slice((*rowTerms)(unsafe.Pointer(rowPanel)), turns)
	cols := unsafe.Slice((*colTerms)(unsafe.Pointer(colPanel)), turns)
	cols = cols[:len(rows)]
	c := (*[tileCols * genericRows]float32)(unsafe.Pointer(chains))
	c00, c10, c20, c30, c01, c11, c21, c31 := c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
	for i := range rows {
		a, b := &rows[i], &cols[i]

		x, y := b[0], b[1]
		c00 += float32(a[0] * x)
		c01 += float32(a[0] * y)
		c10 += float32(a[1] * x)
		c11 += float32(a[1] * y)
		c20 += float32(a[2] * x)
		c21 += float32(a[2] * y)
		c30 += float32(a[3] * x)
		c31 += float32(a[3] * y)

		x, y = b[2], b[3]
		c00 += float32(a[4] * x)
		c01 += float32(a[4] * y)
		c10 += float32(a[5] * x)
		c11 += float32(a[5] * y)
		c20 += float32(a[6] * x)
		c21 += float32(a[6] * y)
		c30 += float32(a[7] * x)
		c31 += float32(a[7] * y)

		x, y = b[4], b[5]
		c00 += float32(a[8] * x)
		c01 += float32(a[8] * y)
		c10 += float32(a[9] * x)
		c11 += float32(a[9] * y)
		c20 += float32(a[10] * x)
		c21 += float32(a[10] * y)
		c30 += float32(a[11] * x)
		c31 += float32(a[11] * y)

		x, y = b[6], b[7]
		c00 += float32(a[12] * x)
		c01 += float32(a[12] * y)
		c10 += float32(a[13] * x)
		c11 += float32(a[13] * y)
		c20 += float32(a[14] * x)
		c21 += float32(a[14] * y)
		c30 += float32(a[15] * x)
		c31 += float32(a[15] * y)
	}
	*c = [tileCols * genericRows]float32{c00, c10, c20, c30, c01, c11, c21, c31}
}
