//go:build amd64 && !purego

package cpu

import xcpu "golang.org/x/sys/cpu"

//go:generate go -C _asm run . -out ../tile_amd64.s -pkg cpu

//go:noescape
func tileAVX2x1(rows, cols *float32, stride, turns int, c *float32)

//go:noescape
func tileAVX2x4(rows, cols *float32, stride, turns int, c *float32)

//go:noescape
func tileAVX512x1(rows, cols *float32, stride, turns int, c *float32)

//go:noescape
func tileAVX512x4(rows, cols *float32, stride, turns int, c *float32)

// fast are the tilers in assembly that this processor can run, the slowest first.
func fast() []tiler {
	var out []tiler
	if xcpu.X86.HasAVX2 {
		out = append(out, tiler{"avx2", 8, tileAVX2x1, tileAVX2x4})
	}
	if xcpu.X86.HasAVX512F {
		out = append(out, tiler{"avx512", 16, tileAVX512x1, tileAVX512x4})
	}
	return out
}
