package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/dither-ml/dither/trainer/kernel"
)

// availableMemory is what the system could still give, in bytes, where it says so.
func availableMemory() (bytes int64, known bool) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); n == 1 {
			return kib << 10, true
		}
	}
	return 0, false
}

// deviceMemory is the most that a kernel set has allocated of a device's memory, in bytes; 0 where it computes in the host's.
func deviceMemory(set kernel.Set) (int64, error) {
	if d, ok := set.(kernel.Device); ok {
		return d.PeakMemoryBytes()
	}
	return 0, nil
}

// memoryText is both for people.
func memoryText(host, device int64) string {
	if device == 0 {
		return fmt.Sprintf("%d MiB", host>>20)
	}
	return fmt.Sprintf("%d MiB, and %d MiB of the device's", host>>20, device>>20)
}
