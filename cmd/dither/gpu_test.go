package main

import (
	"testing"

	"github.com/dither-ml/dither/trainer/kernel/cuda"
)

// Trainers take the GPUs in turn; one more is refused, or shares the first; and what is given back can be had again.
func TestClaimGPU(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	d := cuda.Driver{Version: cuda.NeedsDriver, Devices: []cuda.Device{{UUID: "GPU-a"}, {UUID: "GPU-b"}}}
	claim := func(share bool, want int) interface{ Close() error } {
		t.Helper()
		got, held, err := claimGPU(d, share)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { held.Close() })
		if got != want {
			t.Fatalf("GPU %d, want %d", got, want)
		}
		return held
	}
	claim(false, 0)
	second := claim(true, 1)
	if _, _, err := claimGPU(d, false); exitCode(err) != exitUsage {
		t.Fatalf("a third trainer on two GPUs: %v", err)
	}
	claim(true, 0)
	claim(true, 1)
	second.Close()
	claim(false, 1)
	// Another process may see them in another order.
	d.Devices[0], d.Devices[1] = d.Devices[1], d.Devices[0]
	claim(true, 0)
	if _, _, err := claimGPU(d, false); exitCode(err) != exitUsage {
		t.Fatalf("a trainer on two GPUs that have others: %v", err)
	}
}
