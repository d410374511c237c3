package dataloader

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// cifarDecoder reads CIFAR's binary files: records of one byte for each label, the i-th in 0..classes[i]-1 and the last the class, and the image's
// pixels [Channels][Height][Width]. Source: https://www.cs.toronto.edu/~kriz/cifar.html.
func cifarDecoder(classes ...int) decoder {
	return func(f *source, dst *Images, limit int) (int, error) {
		image := dst.imageBytes()
		record := len(classes) + image
		if f.size == 0 {
			return 0, fmt.Errorf("%w: %s is empty", ErrFormat, f.path)
		}
		if f.size%int64(record) != 0 {
			return 0, fmt.Errorf("%w: %s has %d bytes, which is no whole number of records of %d", ErrFormat, f.path, f.size, record)
		}
		images := int(f.size / int64(record))
		take := images
		if limit > 0 {
			take = min(take, limit-dst.N())
		}
		labels := make([]byte, len(classes))
		for i := range take {
			if _, err := io.ReadFull(f, labels); err != nil {
				return 0, shrunk(f, i, err)
			}
			for j, l := range labels {
				if int(l) >= classes[j] {
					return 0, fmt.Errorf("%w: %s: record %d (from 0) has label %d, not one of 0..%d", ErrFormat, f.path, i, l, classes[j]-1)
				}
			}
			end := len(dst.Pixels)
			dst.Pixels = slices.Grow(dst.Pixels, image)[:end+image]
			if _, err := io.ReadFull(f, dst.Pixels[end:]); err != nil {
				return 0, shrunk(f, i, err)
			}
			dst.Labels = append(dst.Labels, int32(labels[len(labels)-1]))
		}
		return images, nil
	}
}

// shrunk is the error of a file that ends before its size, or cannot be read.
func shrunk(f *source, record int, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %s was cut short at record %d (from 0) while it was read", ErrFormat, f.path, record)
	}
	return fmt.Errorf("reading %s: %w", f.path, err)
}
