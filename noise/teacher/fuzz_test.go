package teacher

import (
	"testing"

	"google.golang.org/protobuf/proto"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// FuzzNoisyLabels: whatever comes on the port is answered with labels of the question's size, or refused.
func FuzzNoisyLabels(f *testing.F) {
	for _, r := range []*ditherv1.NoisyLabelsRequest{
		{}, {Run: "r", Iteration: 1, Samples: []uint32{0, 79}}, {Run: "r", Iteration: 30, Samples: make([]uint32, 100)}, {Run: "r", Iteration: 1 << 31, Samples: []uint32{1<<32 - 1}},
	} {
		b, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, true)
		f.Add(b, false)
	}
	f.Add([]byte{0x22, 0xff, 0xff, 0xff, 0xff, 0x0f}, true)
	f.Fuzz(func(t *testing.T, b []byte, ours bool) {
		r := &ditherv1.NoisyLabelsRequest{}
		if proto.Unmarshal(b, r) != nil {
			return // gRPC refuses it
		}
		s := opened(t, config(t))
		if ours {
			r.Run, r.SpecSha256 = "r", s.Run.GetSpecSha256()
		}
		a, err := s.NoisyLabels(t.Context(), r)
		if err == nil && len(a.GetLabels().GetData()) != 4*s.classes*len(r.GetSamples()) {
			t.Errorf("%d bytes for %d samples", len(a.GetLabels().GetData()), len(r.GetSamples()))
		}
	})
}
