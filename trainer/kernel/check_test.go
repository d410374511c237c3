package kernel

import (
	"errors"
	"fmt"
	"math"
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

// fits are ops that make sense; each of what follows is one of them with something wrong.
var fits = map[string]Op{
	"forward": {Kind: ConvForward, Groups: 2, N: 3, C: 5, H: 4, W: 6, K: 7, R: 3, Stride: 2, Block: 16, Before: NormAddReLU, BeforeStride: -1, After: Stats, RecordStride: 14, Epsilon: 1},
	"data":    {Kind: ConvDataGrad, Groups: 2, N: 3, C: 5, H: 4, W: 6, K: 7, R: 3, Stride: 2, Block: 16, Before: NormGrad, BeforeStride: 9, Count: 18, After: ReLUNormSums, AfterStride: 8, Epsilon: 1},
	"weight":  {Kind: ConvWeightGrad, Groups: 2, N: 3, C: 5, H: 4, W: 6, K: 7, R: 3, Stride: 2, Block: 16, Input: NormReLU, Before: NormGrad, BeforeStride: -1, Count: 18, Epsilon: 1},
	"squares": {Kind: ConvSquares, Groups: 2, N: 6, C: 5, H: 4, W: 6, K: 7, R: 3, Stride: 2, Block: 16, Repeat: 3, Input: NormReLU, Before: NormEvalGrad, Epsilon: 1},
	"masked":  {Kind: ConvDataGrad, Groups: 2, N: 6, C: 5, H: 4, W: 6, K: 7, R: 3, Stride: 2, Block: 16, Repeat: 3, After: AddReLUNormSquares, Epsilon: 1},
	"relu":    {Kind: ReLUGrad, Groups: 2, N: 6, C: 5, H: 4, W: 6, Block: 16, Repeat: 2},
	"sgd":     {Kind: SGD, Groups: 1, N: 1, C: 5, H: 1, W: 1},
	"one hot": {Kind: OneHot, Groups: 2, N: 6, K: 3},
}

func TestCheckOfBlocksFusionsAndRepeats(t *testing.T) {
	for name, op := range fits {
		if err := op.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, v := range []struct {
		of, says string
		spoil    func(o *Op)
	}{
		{"forward", "NormGrad can't be fused there", func(o *Op) { o.Before = NormGrad }},
		{"forward", "NormReLU can't be fused there", func(o *Op) { o.Input = NormReLU }},
		{"forward", "ReLUNormSums can't be fused there", func(o *Op) { o.After = ReLUNormSums }},
		{"forward", "Fusion(99) can't be fused there", func(o *Op) { o.After = 99 }},
		{"forward", "Block and Repeat", func(o *Op) { o.Block = -1 }},
		{"forward", "Block and Repeat", func(o *Op) { o.Block = math.MaxInt }},
		{"forward", "2^40 elements", func(o *Op) { o.Block = 1 << 39 }},
		{"forward", "2^40 elements", func(o *Op) { o.K = math.MaxInt }},
		{"forward", "the groups' parts of record are 13", func(o *Op) { o.RecordStride = 13 }},
		{"forward", "a negative stride", func(o *Op) { o.BeforeStride = -2 }},
		{"forward", "BeforeStride of 5", func(o *Op) { o.BeforeStride = 5 }},
		{"forward", "BeforeStride of -1", func(o *Op) { o.Before = Alone }},
		{"forward", "AfterStride of 8", func(o *Op) { o.AfterStride = 8 }},
		{"forward", "Epsilon must not be negative", func(o *Op) { o.Epsilon = -1 }},
		{"forward", "two elements a channel", func(o *Op) { o.N, o.H, o.W = 1, 2, 2 }},
		{"forward", "can't be repeated", func(o *Op) { o.Repeat = 3 }},
		{"data", "Count must be at least 1", func(o *Op) { o.Count = 0 }},
		{"data", "a negative stride", func(o *Op) { o.AfterStride = -1 }},
		{"data", "the groups' parts of dgamma are 6", func(o *Op) { o.BeforeStride = 6 }},
		{"data", "the groups' parts of dgamma are 4", func(o *Op) { o.AfterStride = 4 }},
		{"data", "can't be repeated", func(o *Op) { o.Repeat = 3 }},
		{"data", "can't be repeated", func(o *Op) { o.Repeat, o.After, o.AfterStride = 3, ReLUNormSquares, 0 }},
		{"weight", "NormAddReLU can't be fused there", func(o *Op) { o.Input = NormAddReLU }},
		{"weight", "Stats can't be fused there", func(o *Op) { o.After = Stats }},
		{"weight", "can't be repeated", func(o *Op) { o.Repeat = 3 }},
		{"squares", "Repeat divides N", func(o *Op) { o.Repeat = 4 }},
		{"squares", "Block and Repeat", func(o *Op) { o.Repeat = -1 }},
		{"squares", "BeforeStride of 7", func(o *Op) { o.BeforeStride = 7 }},
		{"squares", "can't be repeated", func(o *Op) { o.Before, o.Count = NormGrad, 36 }},
		{"masked", "AfterStride of 8", func(o *Op) { o.AfterStride = 8 }},
		{"masked", "can't be repeated", func(o *Op) { o.After = Alone }},
		{"relu", "NormReLU can't be fused there", func(o *Op) { o.Before = NormReLU }},
		{"relu", "can't be repeated", func(o *Op) { o.Kind = ReLU }},
		{"sgd", "no activations", func(o *Op) { o.Block = 16 }},
		{"one hot", "K must divide N", func(o *Op) { o.K = 4 }},
	} {
		op := fits[v.of]
		v.spoil(&op)
		if err := op.Check(); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), v.says) || !strings.Contains(err.Error(), op.String()) {
			t.Errorf("Check of %+v gave %v, want an error that names it and says %q", op, err, v.says)
		}
	}
}

func TestCheckForASet(t *testing.T) {
	blocks, plain := Traits{Block: 16, Fuses: true}, Traits{Block: 1}
	conv := Op{Kind: ConvForward, Groups: 1, N: 1, C: 5, H: 4, W: 6, K: 7, R: 3, Stride: 1}
	fused, wide, relu, linear := conv, conv, Op{Kind: ReLU, Groups: 1, N: 1, C: 5, H: 4, W: 6}, Op{Kind: LinearBiasGrad, Groups: 1, N: 2, K: 3}
	fused.After, wide.Block = Sums, 16
	for _, v := range []struct {
		op     Op
		traits Traits
		says   string
	}{
		{conv, plain, ""}, {relu, plain, ""}, {linear, plain, ""},
		{wide, blocks, ""}, {relu, blocks, ""}, {linear, blocks, ""},
		{conv, blocks, "blocks of 1 channels, not of 16"},
		{wide, plain, "blocks of 16 channels, not of 1"},
		{fused, plain, "fuses nothing"},
	} {
		err := v.op.CheckFor(v.traits)
		if v.says == "" && err != nil || v.says != "" && (!errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), v.says)) {
			t.Errorf("%v for %+v gave %v, want %q", v.op, v.traits, err, v.says)
		}
	}
}

// names are the arguments of an op as "name/elements", read or written to behind "->".
func names(o Op) string {
	var s []string
	written := false
	for _, a := range o.Args() {
		if a.Access != In && !written {
			s, written = append(s, "->"), true
		}
		s = append(s, fmt.Sprintf("%s/%d", a.Name, a.Len()))
	}
	return strings.Join(s, " ")
}

// In blocks of 16 an image of 5 or 7 channels takes 16: x and dx 16*24 elements, y and dy 16*6.
func TestArgumentsOfFusedOps(t *testing.T) {
	for name, want := range map[string]string{
		"forward": "x/2304 mean/5 variance/5 gamma/5 beta/5 r/2304 w/315 shift/7 -> z/2304 y/576 mean/14 variance/14 record/28",
		"data":    "dy/576 xn/576 mean/14 variance/14 gamma/7 dgamma/16 dbeta/16 w/315 xn/2304 mean/10 variance/10 gamma/5 beta/5 -> dx/2304 dgamma/13 dbeta/13",
		"weight":  "x/2304 mean/10 variance/10 gamma/5 beta/5 dy/576 xn/576 mean/14 variance/14 gamma/7 dgamma/7 dbeta/7 -> dw/630",
		"squares": "x/1536 mean/5 variance/5 gamma/5 beta/5 dy/1152 variance/7 gamma/7 -> q/12",
		"masked":  "dy/1152 w/315 r/4608 z/1536 xn/1536 mean/5 variance/5 -> dx/4608 q/12",
		"relu":    "dy/4608 y/2304 -> dx/4608",
	} {
		if got := names(fits[name]); got != want {
			t.Errorf("%s takes %s, want %s", name, got, want)
		}
	}
}
