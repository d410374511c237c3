package kerneltest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
)

// Fingerprints are one line a kind, "Kind hash", of the bits that the set gives on fixed shapes and values. Written down, they say when an arithmetic changes, and whether
// a binary built another way, or another processor, gives the same.
func Fingerprints(t *testing.T, set kernel.Set) []string {
	var lines []string
	for _, kind := range kernel.Kinds() {
		hash := sha256.New()
		for trial := range 6 {
			r := rand.New(rand.NewPCG(2026, uint64(kind)<<32|uint64(trial)))
			op := ops[kind](r)
			op.Kind = kind
			for i, d := range newLauncher(t, set, op).once(rounded(set.Traits(), op, values(r, op)), nil) {
				if op.Args()[i].Access == kernel.In {
					continue
				}
				for _, v := range d.real {
					hash.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(v))))
				}
			}
		}
		lines = append(lines, fmt.Sprintf("%v %x", kind, hash.Sum(nil)[:8]))
	}
	return lines
}
