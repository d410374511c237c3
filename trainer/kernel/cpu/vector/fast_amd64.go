//go:build amd64 && !purego

package vector

import xcpu "golang.org/x/sys/cpu"

//go:generate go -C _asm run . -set avx2 -out ../avx2_amd64.s -pkg vector
//go:generate go -C _asm run . -set avx512 -out ../avx512_amd64.s -pkg vector

// fast are the primitives in assembly that this processor can run, the slowest first.
func fast() []*Set {
	var sets []*Set
	if xcpu.X86.HasAVX2 && xcpu.X86.HasFMA {
		sets = append(sets, &avx2)
	}
	if xcpu.X86.HasAVX512F && xcpu.X86.HasAVX512DQ {
		sets = append(sets, &avx512)
	}
	return sets
}
