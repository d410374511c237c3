package main

import (
	"strings"
	"testing"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func TestStatusForPeople(t *testing.T) {
	var out strings.Builder
	printStatus(&out, &ditherv1.StatusResponse{Run: "r", SpecSha256: "0123456789abcdef", Phase: "training", Reason: "2 of at most 4 trainers", Iteration: 17, Iterations: 100, Loss: 0.5,
		ImagesPerSecond: 1234, Generation: 3, GenerationReason: "trainer-1 lost its lease", Notes: []string{"trainer-2 is slow"}, Coordinator: "h:1",
		Members: []*ditherv1.Member{
			{Id: "teacher", Role: "teacher", KernelSet: "avx2", Address: "h:2", Process: "h:20"},
			{Id: "trainer-0", Role: "trainer", FirstShard: 0, EndShard: 3, Doing: "training", Iterations: 17, KernelSet: "avx2", Address: "h:3", Process: "h:30"},
			{Id: "trainer-2", Role: "trainer", FirstShard: 3, EndShard: 4, Doing: "training", Iterations: 17, KernelSet: "avx2", Address: "h:4", Process: "h:40"},
			{Id: "trainer-3", Role: "trainer", Doing: "copying the state of trainer-0", KernelSet: "avx2", Address: "h:5", Process: "h:50"},
		}})
	const want = `run r, spec 0123456789ab
training: 2 of at most 4 trainers
iteration 17 of 100, loss 0.5, 1.23e+03 images/s
generation 3: trainer-1 lost its lease
note: trainer-2 is slow
coordinator at h:1

id         role     shards  doing                           iterations  kernels  address  process
teacher    teacher  -                                       0           avx2     h:2      h:20
trainer-0  trainer  0 to 2  training                        17          avx2     h:3      h:30
trainer-2  trainer  3       training                        17          avx2     h:4      h:40
trainer-3  trainer  -       copying the state of trainer-0  0           avx2     h:5      h:50
`
	if out.String() != want {
		t.Errorf("status is\n%s", out.String())
	}
}
