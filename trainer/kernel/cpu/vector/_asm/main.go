// Generates the primitives of ../vector.go in assembly, one instruction set a run: go run . -set avx512 -out ../avx512_amd64.s -pkg vector
//
// Both sets come from the same code. An AVX-512 vector is a pixel's block of 16 channels; an AVX2 vector is half of it, so there whatever works on blocks is done
// twice. Chains of fused multiply-adds are independent of each other, so which of them share a block of registers changes no bit.
package main

import (
	"flag"
	"log"

	. "github.com/mmcloughlin/avo/build"
)

func main() {
	set := flag.String("set", "", "avx2 or avx512")
	flag.Parse()
	switch *set {
	case "avx2":
	case "avx512":
		wide = true
	default:
		log.Fatalf("there is no set %q: give avx2 or avx512", *set)
	}
	ConstraintExpr("!purego")
	multiply()
	accumulate()
	convolve()
	convolveGrad()
	transpose()
	inputTiles()
	gradTiles()
	outputTiles()
	weightTiles()
	weightGradTiles()
	rowPasses()
	flatPasses()
	Generate()
}
