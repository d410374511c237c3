package philox

import "testing"

// The vectors of Random123's kat_vectors for philox4x32 with 10 rounds.
func TestPublishedVectors(t *testing.T) {
	for _, v := range []struct {
		ctr  [4]uint32
		key  [2]uint32
		want [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, [2]uint32{0xffffffff, 0xffffffff}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0}, [4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := Block(v.key, v.ctr); got != v.want {
			t.Errorf("Block(%x, %x) = %x, want %x", v.key, v.ctr, got, v.want)
		}
	}
}

func TestBelowStaysBelow(t *testing.T) {
	for _, n := range []uint32{1, 2, 3, 10, 1 << 31, 0xffffffff} {
		if got := Below(0xffffffff, 0xffffffff, n); got != n-1 {
			t.Errorf("Below(max, %d) = %d, want %d", n, got, n-1)
		}
		if got := Below(0, 0, n); got != 0 {
			t.Errorf("Below(0, %d) = %d, want 0", n, got)
		}
	}
}

func TestWordsAreTheBlock(t *testing.T) {
	for i := range uint32(1000) {
		seed, step := uint64(i)*0x9E3779B97F4A7C15, i*0x85EBCA6B
		b := At(seed, OLSBatch, step, ^i, i<<20)
		lo, hi := Words(seed, OLSBatch, step, ^i, i<<20)
		if lo != uint64(b[1])<<32|uint64(b[0]) || hi != uint64(b[3])<<32|uint64(b[2]) {
			t.Fatalf("Words(%x, %d, %x, %x, %x) = %x, %x, want %x", seed, OLSBatch, step, ^i, i<<20, lo, hi, b)
		}
	}
}
