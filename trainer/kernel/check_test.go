package kernel

import (
	"errors"
	"strings"
	"testing"
)

func TestEveryKindHasArguments(t *testing.T) {
	op := Op{Groups: 2, N: 8, C: 2, H: 4, W: 5, K: 4, R: 3, Stride: 1, Count: 7, Temperature: 1}
	for _, k := range Kinds() {
		op.Kind = k
		op.H, op.W = 4, 5
		if strings.HasPrefix(k.String(), "Linear") {
			op.H, op.W = 1, 1
		}
		if err := op.Check(); err != nil {
			t.Errorf("%v", err)
			continue
		}
		written := false
		for _, a := range op.Args() {
			written = written || a.Access != In
			if a.Len() < 1 || a.Name == "" {
				t.Errorf("%v has an argument %+v", k, a)
			}
		}
		if !written {
			t.Errorf("%v writes nothing", k)
		}
	}
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	op := Op{Kind: ConvWeightGrad, Groups: 2, N: 3, C: 2, H: 4, W: 5, K: 4, R: 3, Stride: 1, GroupStride: 71}
	err := op.Check()
	want := "ConvWeightGrad 2x3x2x4x5 to 4, window 3: the groups' parts of dw are 71 elements apart, fewer than the 72 of a part: not supported by this kernel set"
	if !errors.Is(err, ErrUnsupported) || err.Error() != want {
		t.Errorf("Check gave %q, want %q", err, want)
	}
	op.GroupStride = 72
	if err := op.Check(); err != nil {
		t.Error(err)
	}
}

func TestPartsOfGroups(t *testing.T) {
	op := Op{Kind: NormForward, Groups: 3, N: 2, C: 5, H: 2, W: 2}
	for stride, want := range map[int]int{0: 15, 5: 15, 9: 23, -1: 5} {
		op.GroupStride = stride
		if got := op.Args()[1].Len(); got != want {
			t.Errorf("means of 3 groups, stride %d, take %d elements, want %d", stride, got, want)
		}
	}
}
