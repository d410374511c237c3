package dataloader

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/csv"
	"fmt"
	"strconv"
)

// The test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998; CC BY 4.0): on
// each line the 64 pixels of an 8x8 image, 0..16, and its label.
//
//go:embed digits.csv.gz
var digitsCSV []byte

const (
	digitsAll   = 1797
	digitsTrain = 1437 // the first lines; the rest are the test images, and each class has 33 to 37 of those
	digitsSide  = 8
	digitsMax   = 16
)

// digits appends the images from..to-1 to dst, scaled up to its size. A failure would be the program's own.
func digits(dst *Images, from, to int) error {
	z, err := gzip.NewReader(bytes.NewReader(digitsCSV))
	if err != nil {
		return fmt.Errorf("embedded digits: %w", err)
	}
	lines, err := csv.NewReader(z).ReadAll()
	if err != nil {
		return fmt.Errorf("embedded digits: %w", err)
	}
	for _, line := range lines[from:to] {
		var v [digitsSide*digitsSide + 1]int
		for i, text := range line {
			if v[i], err = strconv.Atoi(text); err != nil {
				return fmt.Errorf("embedded digits: %w", err)
			}
		}
		dst.Labels = append(dst.Labels, int32(v[len(v)-1]))
		plane := enlarge(v[:len(v)-1])
		for range dst.Channels {
			dst.Pixels = append(dst.Pixels, plane...)
		}
	}
	return nil
}

// enlarge scales an image [8][8] of 0..16 to [32][32] of 0..255, by bilinear interpolation between pixel centres (edges repeated) in whole
// numbers, rounded half up. A small ResNet learns these faster than blocks of 4x4 equal pixels.
func enlarge(v []int) []byte {
	const scale = 4
	out := make([]byte, 0, digitsSide*digitsSide*scale*scale)
	// Output pixel x has its centre at (x + 1/2)/4 - 1/2 = (2x - 3)/8 of the input's pixels.
	at := func(x int) (lo, hi, weight int) {
		t := 2*x - scale + 1 + 2*scale // one input pixel further, to keep it positive
		return max(t/(2*scale)-1, 0), min(t/(2*scale), digitsSide-1), t % (2 * scale)
	}
	for y := range digitsSide * scale {
		y0, y1, wy := at(y)
		for x := range digitsSide * scale {
			x0, x1, wx := at(x)
			const one = 2 * scale
			sum := (one-wy)*((one-wx)*v[y0*digitsSide+x0]+wx*v[y0*digitsSide+x1]) + wy*((one-wx)*v[y1*digitsSide+x0]+wx*v[y1*digitsSide+x1])
			const full = one * one * digitsMax // the sum of a white pixel
			out = append(out, byte((sum*255+full/2)/full))
		}
	}
	return out
}
