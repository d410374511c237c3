//go:build gpu

package cuda

import (
	"slices"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
)

// publishedBlocks holds Philox4x32-10 on the device to the test vectors of its authors (Random123's kat_vectors).
func publishedBlocks(t *testing.T, d *device) {
	t.Helper()
	keys := []uint32{0, 0, 0xffffffff, 0xffffffff, 0xa4093822, 0x299f31d0}
	counters := []uint32{0, 0, 0, 0, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}
	want := []uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd, 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}
	k := &prepared{device: d}
	q := d.newStream()
	var args []kernel.Memory
	for _, values := range [][]uint32{keys, counters, make([]uint32, len(want))} {
		m, err := d.alloc(kernel.Int, len(values))
		if err != nil {
			t.Fatal(err)
		}
		words := make([]int32, len(values))
		for i, v := range values {
			words[i] = int32(v)
		}
		q.Write(m, words)
		k.args, args = append(k.args, kernel.Arg{Type: kernel.Int, Part: m.n, Parts: 1, Stride: m.n}), append(args, m)
	}
	n := len(want) / 4
	k.add("philox_blocks", n, k.arg(0), k.arg(1), k.arg(2), n)
	if err := k.finish(); err != nil {
		t.Fatal(err)
	}
	k.Launch(q, args)
	blocks := make([]int32, len(want))
	q.Read(blocks, args[2])
	if err := q.Sync(); err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(blocks, want, func(a int32, b uint32) bool { return uint32(a) == b }) {
		t.Errorf("the blocks are %08x, want %08x", blocks, want)
	}
}
