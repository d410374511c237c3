package dataloader

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/dither-ml/dither/dataloader/matfile"
)

// maxSVHN bounds what a file may claim; SVHN with its extra images has 630,420.
const maxSVHN = 1 << 24

// decodeSVHN reads a MATLAB 5 file with X [Height][Width][Channels][N], the first index fastest, and y [N][1], 1..10 with 10 for the digit 0.
// Source: Netzer et al. 2011, http://ufldl.stanford.edu/housenumbers/, format 2.
func decodeSVHN(f *source, dst *Images, limit int) (int, error) {
	m, err := matfile.NewReader(f)
	if err != nil {
		return 0, inFile(f, err)
	}
	images, labels := -1, []byte(nil)
	for {
		v, err := m.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, inFile(f, err)
		}
		switch {
		case v.Name == "X" && images < 0:
			images, err = svhnPixels(v, dst, limit)
		case v.Name == "y" && labels == nil:
			labels, err = svhnLabels(v)
		case v.Name == "X", v.Name == "y":
			err = fmt.Errorf("variable %s stands there twice", v.Name)
		}
		if err != nil {
			return 0, inFile(f, err)
		}
	}
	switch {
	case images < 0:
		err = errors.New("variable X, the pixels, is missing")
	case labels == nil:
		err = errors.New("variable y, the labels, is missing")
	case images != len(labels):
		err = fmt.Errorf("variable X holds %d images and y %d labels", images, len(labels))
	}
	if err != nil {
		return 0, inFile(f, err)
	}
	for _, l := range labels[:len(dst.Pixels)/dst.imageBytes()] {
		dst.Labels = append(dst.Labels, int32(l)%10)
	}
	return images, nil
}

// svhnPixels appends the images of X to dst, at most limit where that is positive, and returns how many X has.
func svhnPixels(v *matfile.Variable, dst *Images, limit int) (int, error) {
	dims := v.Dims
	if len(dims) == 3 {
		dims = append(dims, 1) // MATLAB drops a last dimension of 1
	}
	if h, w, c := dst.Height, dst.Width, dst.Channels; len(dims) != 4 || !slices.Equal(dims[:3], []int{h, w, c}) {
		return 0, fmt.Errorf("variable X is of size %v, not [%d %d %d N]", v.Dims, h, w, c)
	}
	n := dims[3]
	if n == 0 || n > maxSVHN {
		return 0, fmt.Errorf("variable X holds %d images, not 1 to %d", n, maxSVHN)
	}
	take := n
	if limit > 0 {
		take = min(take, limit)
	}
	image := dst.imageBytes()
	// Pictures compress by far less than 8 times: real files get their memory at once, and a file that claims more than it holds gets little.
	dst.Pixels = make([]byte, 0, min(int64(take), 8*v.Stored/int64(image)+1)*int64(image))
	column := make([]byte, image) // [Channels][Width][Height]
	for range take {
		if err := v.ReadBytes(column); err != nil {
			return 0, err
		}
		end := len(dst.Pixels)
		dst.Pixels = slices.Grow(dst.Pixels, image)[:end+image]
		transpose(dst.Pixels[end:], column, dst.Channels, dst.Height, dst.Width)
	}
	return n, nil
}

// transpose turns each channel of src [c][w][h] into dst [c][h][w].
func transpose(dst, src []byte, c, h, w int) {
	for range c {
		for y := range h {
			row := dst[y*w : (y+1)*w]
			for x := range row {
				row[x] = src[x*h+y]
			}
		}
		dst, src = dst[h*w:], src[h*w:]
	}
}

// svhnLabels returns y as it stands, checked to be 1..10.
func svhnLabels(v *matfile.Variable) ([]byte, error) {
	if v.Left() > maxSVHN {
		return nil, fmt.Errorf("y holds %d labels, more than %d", v.Left(), maxSVHN)
	}
	labels := make([]byte, v.Left())
	if err := v.ReadBytes(labels); err != nil {
		return nil, err
	}
	for i, l := range labels {
		if l < 1 || l > 10 {
			return nil, fmt.Errorf("record %d (from 0) has label %d, not one of 1..10 (10 for the digit 0)", i, l)
		}
	}
	return labels, nil
}

// inFile says which file an error is about; whatever is no failure to read is ErrFormat.
func inFile(f *source, err error) error {
	var read *fs.PathError
	if errors.As(err, &read) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrFormat, f.path, err)
}
