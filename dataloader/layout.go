package dataloader

import (
	"fmt"
	"slices"
	"strings"
)

// layout says how a data set lies in a data folder and what its official files are.
type layout struct {
	name        string
	shape       Images // without pixels and labels
	flip        bool
	folder      string // below the data folder; "": the set is part of the program
	names       string // file of class names, one a line; "": the classes are the digits
	decode      decoder
	record      int // bytes of an image and its labels in a file; 0: only the decoder knows
	train, test []file
	archives    []Archive
}

// file is one of a set's official files.
type file struct {
	name     string // below the layout's folder
	images   int
	checksum string // "sha1:<hex>" or "md5:<hex>"
	archive  string // the official archive that holds it
	part     string // pattern of a file with the first images of this one, which is taken, with a warning, where this one is missing
}

// decoder appends the images of a file to dst, at most limit of them in all where limit is positive, and says how many the file holds.
type decoder func(f *source, dst *Images, limit int) (images int, err error)

// Archive is an official file to download.
type Archive struct {
	Set  string `json:"set"`
	File string `json:"file"` // its name
	URL  string `json:"url"`
	MD5  string `json:"md5"` // hex
}

const (
	toronto  = "https://www.cs.toronto.edu/~kriz/"
	stanford = "http://ufldl.stanford.edu/housenumbers/"

	cifar10Archive  = "cifar-10-binary.tar.gz"
	cifar100Archive = "cifar-100-binary.tar.gz"
)

// The md5 of the archives are those of the sets' home pages; the sha1 of CIFAR's single files are those that Apache MXNet published
// (python/mxnet/gluon/data/vision/datasets.py).
var layouts = []*layout{
	{name: "digits", shape: shape(10)},
	{
		name: "cifar10", shape: shape(10), flip: true, folder: "cifar-10-batches-bin", names: "batches.meta.txt", decode: cifarDecoder(10), record: 1 + 3072,
		train: []file{
			{name: "data_batch_1.bin", images: 10000, checksum: "sha1:aadd24acce27caa71bf4b10992e9e7b2d74c2540", archive: cifar10Archive},
			{name: "data_batch_2.bin", images: 10000, checksum: "sha1:c0ba65cce70568cd57b4e03e9ac8d2a5367c1795", archive: cifar10Archive},
			{name: "data_batch_3.bin", images: 10000, checksum: "sha1:1dd00a74ab1d17a6e7d73e185b69dbf31242f295", archive: cifar10Archive},
			{name: "data_batch_4.bin", images: 10000, checksum: "sha1:aab85764eb3584312d3c7f65fd2fd016e36a258e", archive: cifar10Archive},
			{name: "data_batch_5.bin", images: 10000, checksum: "sha1:26e2849e66a845b7f1e4614ae70f4889ae604628", archive: cifar10Archive},
		},
		test:     []file{{name: "test_batch.bin", images: 10000, checksum: "sha1:67eb016db431130d61cd03c7ad570b013799c88c", archive: cifar10Archive}},
		archives: []Archive{{"cifar10", cifar10Archive, toronto + cifar10Archive, "c32a1d4ab5d03f1284b67883e8d87530"}},
	},
	{
		name: "cifar100", shape: shape(100), flip: true, folder: "cifar-100-binary", names: "fine_label_names.txt", decode: cifarDecoder(20, 100), record: 2 + 3072,
		train:    []file{{name: "train.bin", images: 50000, checksum: "sha1:e207cd2e05b73b1393c74c7f5e7bea451d63e08e", archive: cifar100Archive, part: "train_first*.bin"}},
		test:     []file{{name: "test.bin", images: 10000, checksum: "sha1:8fb6623e830365ff53cf14adec797474f5478006", archive: cifar100Archive}},
		archives: []Archive{{"cifar100", cifar100Archive, toronto + cifar100Archive, "03b5dce01913d631647c71ecec9e9cb8"}},
	},
	{
		name: "svhn", shape: shape(10), folder: "svhn", decode: decodeSVHN,
		train: []file{{name: "train_32x32.mat", images: 73257, checksum: "md5:e26dedcc434d2e4c54c9b2d4a06d8373", archive: "train_32x32.mat"}},
		test:  []file{{name: "test_32x32.mat", images: 26032, checksum: "md5:eb5a983be6a315427106f1b164d9cef3", archive: "test_32x32.mat"}},
		archives: []Archive{
			{"svhn", "train_32x32.mat", stanford + "train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"},
			{"svhn", "test_32x32.mat", stanford + "test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"},
		},
	},
}

func shape(classes int) Images { return Images{Classes: classes, Channels: 3, Height: 32, Width: 32} }

func find(name string) (*layout, error) {
	for _, l := range layouts {
		if l.name == name {
			return l, nil
		}
	}
	return nil, fmt.Errorf("%w %q: take one of %s", ErrUnknown, name, strings.Join(Names(), ", "))
}

// Archives are the official homes and checksums of every set that is not part of the program.
func Archives() []Archive {
	var all []Archive
	for _, l := range layouts {
		all = append(all, l.archives...)
	}
	return all
}

// files are those of both splits.
func (l *layout) files() []file { return slices.Concat(l.train, l.test) }
