package ditherv1

import "strings"

// Precisions are what activations and products are computed in. A spec has no field for it: its arithmetic says it, and fixes the bits besides.
const (
	FP32 = "fp32" // float32
	BF16 = "bf16" // bfloat16, with parameters, statistics and sums in float32
)

// Precision is that of an arithmetic, whose name says it where it is not float32: "cuda-bf16/1-sm90".
func Precision(arithmetic string) string {
	if family, _, _ := strings.Cut(arithmetic, "/"); strings.HasSuffix(family, "-"+BF16) {
		return BF16
	}
	return FP32
}

// OtherKernels says, for a person, which kernels would compute in a run's arithmetic where those at hand compute in another.
func OtherKernels(its, runs string) string {
	switch {
	case Precision(runs) != BF16:
		return "choose another with --kernels"
	case Precision(its) != BF16:
		return "the run is in bf16, which needs --kernels cuda"
	}
	return "bf16 has the same bits only on GPUs of one compute capability: use such a GPU as the run began on"
}
