// Package dataloader reads the data sets, and says which sample is taken at which iteration and in which view. Both are functions of
// (seed, epoch, sample) alone, so any trainer and any service can work them out without asking.
package dataloader

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

var (
	// ErrUnknown: no data set has that name.
	ErrUnknown = errors.New("unknown data set")
	// ErrMissing: a file of the data set is not there.
	ErrMissing = errors.New("data file is missing")
	// ErrFormat: a file is not what its name says.
	ErrFormat = errors.New("data file cannot be used")
)

// Mean and Std normalise a channel of pixels / 255: (pixel/255 - Mean) / Std. Every set uses them unless a spec says otherwise.
var (
	Mean = [3]float64{0.485, 0.456, 0.406}
	Std  = [3]float64{0.229, 0.224, 0.225}
)

// Images are the pixels and labels of a split, in the order of the files.
type Images struct {
	Pixels []byte  // [N][Channels][Height][Width]
	Labels []int32 // [N], each in 0..Classes-1

	Classes, Channels, Height, Width int
}

// N is the number of images.
func (im Images) N() int { return len(im.Labels) }

// Hash is the sha256 (hex) of N, channels, height, width and classes as uint64, then the pixels, then the labels as int32, all little-endian.
func (im Images) Hash() string {
	h := sha256.New()
	var buf []byte
	for _, v := range []int{im.N(), im.Channels, im.Height, im.Width, im.Classes} {
		buf = binary.LittleEndian.AppendUint64(buf, uint64(v))
	}
	h.Write(buf)
	h.Write(im.Pixels)
	buf = buf[:0]
	for _, l := range im.Labels {
		buf = binary.LittleEndian.AppendUint32(buf, uint32(l))
	}
	h.Write(buf)
	return hex.EncodeToString(h.Sum(nil))
}

// imageBytes is the number of bytes of one image.
func (im Images) imageBytes() int { return im.Channels * im.Height * im.Width }

// Set is a data set.
type Set struct {
	Name                             string
	Classes, Channels, Height, Width int
	Flip                             bool     // a mirrored image keeps its meaning
	ClassNames                       []string // [Classes]
	Train, Test                      Images
	Official                         bool     // every file that was read is the official one, by its checksum
	Warnings                         []string // sentences for the user
}

// Options say how much of a set to read; only the files needed for it are opened.
type Options struct {
	TrainLimit, TestLimit int // the first so many images; 0: all
	SkipTrain, SkipTest   bool
}

// Open reads a data set from dir, the folder in which the official archives were unpacked ("digits" is part of the program and needs none).
// "cifar100" has the fine labels. A file whose content is sound but not the official one is used, with a warning. Errors wrap ErrUnknown,
// ErrMissing or ErrFormat, or are the file system's.
func Open(name, dir string, o Options) (*Set, error) {
	l, err := find(name)
	if err != nil {
		return nil, err
	}
	if o.TrainLimit < 0 || o.TestLimit < 0 {
		return nil, fmt.Errorf("%s: a limit of %d images: give 0 for all or a positive number", name, min(o.TrainLimit, o.TestLimit))
	}
	s := &Set{Name: name, Classes: l.shape.Classes, Channels: l.shape.Channels, Height: l.shape.Height, Width: l.shape.Width, Flip: l.flip, Official: true}
	s.ClassNames = l.classNames(dir)
	s.Train, s.Test = l.shape, l.shape
	if !o.SkipTrain {
		if err := l.load(s, dir, train, o.TrainLimit); err != nil {
			return nil, err
		}
	}
	if !o.SkipTest {
		if err := l.load(s, dir, test, o.TestLimit); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Names are the data sets that Open knows.
func Names() []string {
	var names []string
	for _, l := range layouts {
		names = append(names, l.name)
	}
	return names
}
