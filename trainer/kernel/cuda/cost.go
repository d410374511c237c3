//go:build gpu

package cuda

import (
	"slices"

	"github.com/dither-ml/dither/trainer/kernel"
)

// Parts implements kernel.Parted: the launches.
func (k *prepared) Parts() []kernel.Part {
	var parts []kernel.Part
	for i := range k.launches {
		alone := *k
		alone.launches = k.launches[i : i+1]
		parts = append(parts, kernel.Part{Name: k.launches[i].name, Bytes: k.bytes(&k.launches[i]), Kernel: &alone})
	}
	return parts
}

// bytes is what a launch's pointers stand for: an argument whole, of the workspace what lies up to the next place that any launch has there.
func (k *prepared) bytes(l *launch) int {
	workspace := k.scratch * kernel.Real.Size()
	var places []int
	for _, l := range k.launches {
		for _, p := range l.pointers {
			if p.arg == len(k.args) {
				places = append(places, int(p.bytes))
			}
		}
	}
	slices.Sort(places)
	sum := 0
	for _, p := range l.pointers {
		if p.arg < len(k.args) {
			sum += k.args[p.arg].Bytes()
			continue
		}
		next := workspace
		if i := slices.IndexFunc(places, func(at int) bool { return at > int(p.bytes) }); i >= 0 {
			next = places[i]
		}
		sum += next - int(p.bytes)
	}
	return sum
}

// taken counts what was allocated, for the owner; what was freed is negative.
func (d *device) taken(bytes int64) {
	d.bytes += bytes
	d.peak = max(d.peak, d.bytes)
}

// PeakMemoryBytes implements kernel.Device.
func (s *set) PeakMemoryBytes() (peak int64, err error) {
	err = s.device.call(func() error {
		peak = s.device.peak
		return nil
	})
	return peak, err
}
