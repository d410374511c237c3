//go:build amd64 && !purego

package vector

import (
	"testing"

	xcpu "golang.org/x/sys/cpu"
)

// A processor that can run a set has it, and the last is the fastest.
func TestFastSetsAreThere(t *testing.T) {
	want := []string{"generic"}
	if xcpu.X86.HasAVX2 && xcpu.X86.HasFMA {
		want = append(want, "avx2")
	}
	if xcpu.X86.HasAVX512F && xcpu.X86.HasAVX512DQ {
		want = append(want, "avx512")
	}
	sets := Sets()
	for i, name := range want {
		if i >= len(sets) || sets[i].Name != name {
			t.Fatalf("set %d is not %s, which this processor can run, in %d sets", i, name, len(sets))
		}
	}
}
