// Generates ../tile_amd64.s: go run . -out ../tile_amd64.s -pkg cpu
//
// A tile goes on with chains c [panels][2 columns][rows] through all terms of a row panel [terms][rows] and of column panels [terms][2], stride
// elements apart: c[p][j][i] = c[p][j][i] + row[t][i] * column[p][t][j] for t in order. Product and sum are two instructions, so that the bits are
// those of plain Go. The rows of a term are one register.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	columns = 2
	terms   = 4 // of one turn of the loop: the panels are padded to it
)

func main() {
	ConstraintExpr("!purego")
	for _, panels := range []int{1, 4} {
		tile("AVX2", 8, panels, func() VecVirtual { return YMM() })
		tile("AVX512", 16, panels, func() VecVirtual { return ZMM() })
	}
	Generate()
}

func tile(set string, rows, panels int, register func() VecVirtual) {
	TEXT(fmt.Sprintf("tile%sx%d", set, panels), NOSPLIT, "func(rows, cols *float32, stride, turns int, c *float32)")
	Doc(fmt.Sprintf("tile%sx%d is a tile of %d rows and %d column panels.", set, panels, rows, panels))
	row, turns, c := Load(Param("rows"), GP64()), Load(Param("turns"), GP64()), Load(Param("c"), GP64())
	column := []Register{Load(Param("cols"), GP64())}
	if panels > 1 {
		stride := Load(Param("stride"), GP64())
		SHLQ(U8(2), stride)
		for p := 1; p < panels; p++ {
			next := GP64()
			LEAQ(Mem{Base: column[p-1], Index: stride, Scale: 1}, next)
			column = append(column, next)
		}
	}
	at := func(p, j int) Mem { return Mem{Base: c, Disp: 4 * rows * (p*columns + j)} }
	chains := make([][columns]VecVirtual, panels)
	for p := range panels {
		for j := range columns {
			chains[p][j] = register()
			VMOVUPS(at(p, j), chains[p][j])
		}
	}
	loop, done := fmt.Sprintf("loop%s%d", set, panels), fmt.Sprintf("done%s%d", set, panels)
	TESTQ(turns, turns)
	JZ(LabelRef(done))
	Label(loop)
	for t := range terms {
		factors := register()
		VMOVUPS(Mem{Base: row, Disp: 4 * rows * t}, factors)
		for p := range panels {
			for j := range columns {
				product := register()
				factor := Mem{Base: column[p], Disp: 4 * (columns*t + j)}
				if set == "AVX512" {
					VMULPS_BCST(factor, factors, product)
				} else {
					VBROADCASTSS(factor, product)
					VMULPS(product, factors, product)
				}
				VADDPS(product, chains[p][j], chains[p][j])
			}
		}
	}
	ADDQ(U32(4*rows*terms), row)
	for _, pointer := range column {
		ADDQ(U8(4*columns*terms), pointer)
	}
	DECQ(turns)
	JNZ(LabelRef(loop))
	Label(done)
	for p := range panels {
		for j := range columns {
			VMOVUPS(chains[p][j], at(p, j))
		}
	}
	VZEROUPPER()
	RET()
}
