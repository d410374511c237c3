package host

import (
	"strings"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
)

func TestAllocSaysWhatIsFree(t *testing.T) {
	free, known := available()
	if !known {
		t.Skip("this system does not say in /proc/meminfo what memory is free")
	}
	if free < 1<<20 || free > 1<<50 {
		t.Errorf("%d bytes are free, by /proc/meminfo", free)
	}
	_, err := Alloc[float32](kernel.Real, 1<<39)
	if err == nil || !strings.Contains(err.Error(), "bytes are free") || !strings.Contains(err.Error(), "allocating 2199023255552 bytes") {
		t.Errorf("Alloc of 2 TiB gave the error %v", err)
	}
}

func TestLaunchRefusesWhatDoesNotFit(t *testing.T) {
	c := NewCall[float32](kernel.Elementwise(kernel.ReLU, 5))
	alloc := func(kind kernel.Type, n int) kernel.Memory {
		m, err := Alloc[float32](kind, n)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	short, long, bytes := alloc(kernel.Real, 4), alloc(kernel.Real, 9), alloc(kernel.Byte, 5)
	foreign, err := Alloc[float64](kernel.Real, 5)
	if err != nil {
		t.Fatal(err)
	}
	for what, args := range map[string][]kernel.Memory{
		"too few arguments":    {long},
		"a short argument":     {long, short},
		"another type":         {bytes, long},
		"another set's memory": {long, foreign},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a launch took %s", what)
				}
			}()
			c.Bind(args)
		}()
	}
	c.Bind([]kernel.Memory{long, long})
	if len(c.Real(0)) != 5 {
		t.Errorf("an argument of 5 elements is cut to %d", len(c.Real(0)))
	}
}
