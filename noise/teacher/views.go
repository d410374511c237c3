package teacher

import (
	"fmt"

	"github.com/dither-ml/dither/dataloader"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// offsets are the places of a crop in one direction.
const offsets = 2*pad + 1

// views are those that the teacher may see of an image: the original alone, or (2 pad + 1)^2 crops, each also mirrored where the data set allows it.
type views struct {
	augmented, flip bool
}

func viewsOf(spec *ditherv1.RunSpec, set *dataloader.Set) views {
	return views{augmented: spec.GetTeacher().GetView() == "augmented" && spec.GetAugment() == "standard", flip: set.Flip}
}

// count is how many there are of one image.
func (v views) count() uint64 {
	switch {
	case !v.augmented:
		return 1
	case v.flip:
		return 2 * offsets * offsets
	}
	return offsets * offsets
}

// key numbers the views of all samples without a gap: those of sample i from i count on.
func (v views) key(sample uint32, g dataloader.Geometry) uint64 {
	key := uint64(sample) * v.count()
	if v.augmented {
		crop := uint64(g.DY)*offsets + uint64(g.DX)
		if v.flip {
			crop = 2*crop + uint64(g.Flip)
		}
		key += crop
	}
	return key
}

// String says which they are, in a cache file's header.
func (v views) String() string {
	switch {
	case !v.augmented:
		return "1, the original"
	case v.flip:
		return fmt.Sprintf("%d, crops with %d pixels of padding, also mirrored", v.count(), pad)
	}
	return fmt.Sprintf("%d, crops with %d pixels of padding", v.count(), pad)
}
