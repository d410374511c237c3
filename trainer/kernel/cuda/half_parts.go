//go:build gpu

package cuda

import (
	"fmt"
	"math"

	"github.com/dither-ml/dither/trainer/kernel"
)

// What src/half.h says of sums over the pixels of a group, for the host.
const (
	partPixels      = 256              // of a part at most
	partColumns     = 64               // of a part at most
	cellParts       = 256              // neighbouring parts that one block adds up
	mostCells       = 2048             // of a group
	sumsOf          = 2 * lanes        // numbers that the sums of a block of channels are
	multiprocessors = 132              // an H200's: on any other GPU the work is cut in the same way
	warpsOf         = halfThreads / 32 // of a block
	halfThreads     = 256
)

// parts are how the plane of an image is cut for sums: `high` times `wide` rectangles of `rows` by `columns` pixels, the last ones perhaps smaller.
type parts struct{ rows, columns, high, wide int }

// partsOf cuts a plane of h by w pixels: into bands of whole rows, as equal as they may be, where a row is short, else into rectangles.
func partsOf(h, w int) parts {
	p := parts{columns: w}
	if w > partColumns {
		p.columns = partColumns / 2
	}
	p.high = ceil(h, max(partPixels/p.columns, 1))
	p.rows = ceil(h, p.high)
	p.high, p.wide = ceil(h, p.rows), ceil(w, p.columns)
	return p
}

// each is the parts of an image.
func (p parts) each() int { return p.high * p.wide }

// groupSums reserves the places of the sums over n parts of a group, for `blocks` blocks of channels in `slices` slices of their own counters.
func (k *prepared) groupSums(n, blocks, slices int) (parts, cells place, counters *memory) {
	c := ceil(n, cellParts)
	if c > mostCells {
		k.err = fmt.Errorf("%v: sums over %d rectangles of pixels, more than %d: use a smaller batch or smaller images: %w", k.Op, n, mostCells*cellParts, kernel.ErrUnsupported)
		return place{}, place{}, &memory{}
	}
	return k.reserve(k.Groups * blocks * n * sumsOf), k.reserve(k.Groups * blocks * c * sumsOf), k.count(k.Groups * slices * (c + 1))
}

// sumsScratch is the bytes of shared memory that group_sums takes for so many blocks of channels.
func sumsScratch(blocks int) int { return 4 * (2*8*sumsOf*blocks + 4) }

// divides says whether src/half.h's Divisor divides numbers below most.
func divides(most, by int) bool { return float64(most)*float64(by) <= 1<<32 }

// magic is that of the Divisor.
func magic(by int) int { return math.MaxUint32 / by }
