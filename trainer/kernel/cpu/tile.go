package cpu

import "unsafe"

// Every convolution comes down to one small matrix product, a tile: 4 rows times 2 columns of chains, whose 8 sums stay in registers. The rows' factors
// lie as [terms][4], the columns' as [terms][2], in panels padded with zeros to a whole number of 4 terms.
const (
	tileRows  = 4
	tileCols  = 2
	tileTerms = 4 // unrolled in a loop's body
	tileSize  = tileRows * tileCols
)

// rowTerms and colTerms are one turn of the tile's loop: arrays, so that the compiler checks no bounds within.
type (
	rowTerms [tileTerms * tileRows]float32
	colTerms [tileTerms * tileCols]float32
)

// depth is the turns that a chain of terms takes.
func depth(terms int) int { return (terms + tileTerms - 1) / tileTerms }

// rowPanel and colPanel are the elements of a panel.
func rowPanel(terms int) int { return depth(terms) * len(rowTerms{}) }
func colPanel(terms int) int { return depth(terms) * len(colTerms{}) }

func ceil(a, b int) int { return (a + b - 1) / b }

// whole rounds n elements up to whole cache lines.
func whole(n int) int { return ceil(n, 16) * 16 }

// tile goes on with the chains c [4][2] through all terms of a row panel and a column panel of one depth.
func tile(rowPanel, colPanel []float32, c *[tileSize]float32) {
	rows := unsafe.Slice((*rowTerms)(unsafe.Pointer(unsafe.SliceData(rowPanel))), len(rowPanel)/len(rowTerms{}))
	cols := unsafe.Slice((*colTerms)(unsafe.Pointer(unsafe.SliceData(colPanel))), len(colPanel)/len(colTerms{}))
	cols = cols[:len(rows)]
	c00, c01, c10, c11, c20, c21, c30, c31 := c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
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
	*c = [tileSize]float32{c00, c01, c10, c11, c20, c21, c30, c31}
}
