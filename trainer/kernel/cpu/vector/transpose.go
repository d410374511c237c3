package vector

import "unsafe"

func transpose(dst *float32, to *int, src *float32, from *int, rows, cols int) {
	targets, sources := unsafe.Slice(to, cols), unsafe.Slice(from, rows)
	for i, source := range sources {
		for j, target := range targets {
			*at(dst, target+i) = *at(src, source+j)
		}
	}
}

// squares is a Transpose made of one that turns n squares side by side of that many rows; what they don't cover is turned in plain Go.
func squares(side int, turn func(dst *float32, to *int, src *float32, from *int, n int)) func(dst *float32, to *int, src *float32, from *int, rows, cols int) {
	return func(dst *float32, to *int, src *float32, from *int, rows, cols int) {
		sources, targets := unsafe.Slice(from, rows), unsafe.Slice(to, cols)
		across := cols / side * side
		for ; len(sources) >= side && across > 0; sources = sources[side:] {
			turn(dst, to, src, &sources[0], across/side)
			transpose(dst, unsafe.SliceData(targets[across:]), at(src, across), &sources[0], side, cols-across)
			dst = at(dst, side)
		}
		transpose(dst, to, src, unsafe.SliceData(sources), len(sources), cols)
	}
}
