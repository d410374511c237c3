package ditherv1

import "testing"

func TestPrecisionIsTheArithmetics(t *testing.T) {
	for arithmetic, want := range map[string]string{"cpu/2": FP32, "cuda-bf16/1-sm90": BF16, "cuda-bf16/12": BF16, "ref/1": FP32, "logits": FP32, "": FP32, "bf16": FP32, "cpu/2-bf16": FP32} {
		if got := Precision(arithmetic); got != want {
			t.Errorf("%q is in %s, want %s", arithmetic, got, want)
		}
	}
}
