package kernel

import (
	"fmt"
	"math"
	"slices"
)

// most is the elements above which a shape is taken for a mistake; products below it can't overflow.
const most = 1 << 40

// Check says whether the op's shapes and numbers make sense, whatever the set. Every set's Prepare begins with it; its error wraps ErrUnsupported and names the op.
func (o Op) Check() error {
	if o.Kind < View || int(o.Kind) >= len(kindNames) {
		return fmt.Errorf("%v: no such kind: %w", o, ErrUnsupported)
	}
	if why := o.flaw(); why != "" {
		return fmt.Errorf("%v: %s: %w", o, why, ErrUnsupported)
	}
	return nil
}

// CheckFor is Check by a set of these traits, whose fusions, Block and precision the op must have. Kinds that know no channels may lie in blocks of 1 anywhere.
func (o Op) CheckFor(t Traits) error {
	if err := o.Check(); err != nil {
		return err
	}
	if !t.Fuses && (o.Input != Alone || o.Before != Alone || o.After != Alone || o.Beside != Alone) {
		return fmt.Errorf("%v: it fuses nothing: %w", o, ErrUnsupported)
	}
	block := max(o.Block, 1)
	if o.Half && !t.Half {
		return fmt.Errorf("%v: it computes in float32: %w", o, ErrUnsupported)
	}
	if !o.activations() || block == 1 && o.elementwise() && !o.Half {
		return nil
	}
	if o.Half != t.Half {
		return fmt.Errorf("%v: its activations are bfloat16: %w", o, ErrUnsupported)
	}
	if block != t.Block {
		return fmt.Errorf("%v: activations in blocks of %d channels, not of %d: %w", o, block, t.Block, ErrUnsupported)
	}
	return nil
}

func (o Op) activations() bool {
	return slices.ContainsFunc(o.Args(), func(a Arg) bool { return a.Channels > 0 })
}

func (o Op) elementwise() bool {
	return o.Kind == ReLU || o.Kind == ReLUGrad || o.Kind == Add || o.Kind == Zero
}

// flaw is the first thing wrong with the op, or "".
func (o Op) flaw() string {
	if why := o.shapeFlaw(); why != "" {
		return why
	}
	if why := o.numberFlaw(); why != "" {
		return why
	}
	if why := o.fusionFlaw(); why != "" {
		return why
	}
	for _, a := range o.Args() {
		if a.Parts > 1 && a.Stride < a.Part {
			return fmt.Sprintf("the groups' parts of %s are %d elements apart, fewer than the %d of a part", a.Name, a.Stride, a.Part)
		}
		if float64(a.Parts)*float64(a.Stride) > most {
			return fmt.Sprintf("%s has more than 2^40 elements", a.Name)
		}
	}
	if o.Block > 1 && !o.activations() {
		return "a Block, but it has no activations"
	}
	if o.Half && !o.activations() && o.Kind != Gather {
		return "Half, but it has no activations"
	}
	return ""
}

// fusions are where a fusion may stand: a kind's Input, Before, After and Beside.
var fusions = map[Kind][4][]Fusion{
	ConvForward:    {{}, {NormReLU, NormAddReLU}, {Stats, Sums}, {}},
	ConvDataGrad:   {{NormReLU}, {NormGrad, NormEvalGrad}, {ReLUNormSums, AddReLUNormSums, ReLUNormSquares, AddReLUNormSquares}, {WeightGrad}},
	ConvWeightGrad: {{NormReLU}, {NormGrad, NormEvalGrad}, {}, {}},
	ConvSquares:    {{NormReLU}, {NormGrad, NormEvalGrad}, {}, {}},
}

// repeated says whether the op can have gradients of more than one function of an image.
func (o Op) repeated() bool {
	if o.Before == NormGrad || o.Beside == WeightGrad { // whose sums are over the images of a group, each once
		return false
	}
	switch o.Kind {
	case ConvSquares, NormSquares, ReLUGrad, LinearSquares:
		return true
	}
	return o.After == ReLUNormSquares || o.After == AddReLUNormSquares
}

// Fusions are what can stand in a kind's Input, Before, After and Beside, without Alone, which always can.
func Fusions(k Kind) (input, before, after, beside []Fusion) {
	f := fusions[k]
	return f[0], f[1], f[2], f[3]
}

func (o Op) fusionFlaw() string {
	for i, f := range [...]Fusion{o.Input, o.Before, o.After, o.Beside} {
		if f != Alone && !slices.Contains(fusions[o.Kind][i], f) {
			return fmt.Sprintf("%v can't be fused there", f)
		}
	}
	normed := o.Before == NormReLU || o.Before == NormAddReLU
	summed := o.After == ReLUNormSums || o.After == AddReLUNormSums
	switch {
	case o.Kind == ConvDataGrad && o.Input != Alone && o.Beside == Alone:
		return fmt.Sprintf("%v of an input, but it has none without a weight gradient beside it", o.Input)
	case o.Before == NormGrad && o.Count < 1:
		return "Count must be at least 1"
	case o.After == Stats && o.N*o.OutH()*o.OutW() < 2:
		return "an unbiased variance needs two elements a channel or more"
	case o.BeforeStride < -1 || o.AfterStride < 0:
		return "a negative stride between groups"
	case o.BeforeStride != 0 && o.Before != NormGrad && !(normed && o.BeforeStride == -1):
		return fmt.Sprintf("a BeforeStride of %d, but nothing before it has parts so far apart", o.BeforeStride)
	case o.AfterStride != 0 && !summed:
		return fmt.Sprintf("an AfterStride of %d, but nothing after it has parts", o.AfterStride)
	case o.Repeat > 1 && !o.repeated():
		return "its gradients can't be repeated"
	}
	return ""
}

func (o Op) shapeFlaw() string {
	images, logits := o.Kind != NormFinish, false
	switch o.Kind {
	case QuadraticForward, QuadraticGrad, KDForward, KDGrad, CEForward, CEGrad, Correct, OneHot, LinearBiasGrad, GaussianNoise, SymmetricNoise:
		logits = true
	case Gather:
		if o.K < 1 {
			return "K must be at least 1"
		}
	}
	switch {
	case o.Groups < 1 || images && o.N < 1:
		return "Groups and N must be at least 1"
	case logits && o.K < 1:
		return "K must be at least 1"
	case !logits && o.C < 1:
		return "C must be at least 1"
	case !logits && images && (o.H < 1 || o.W < 1):
		return "H and W must be at least 1"
	}
	window := 1.0
	switch o.Kind {
	case ConvForward, ConvDataGrad, ConvWeightGrad, ConvSquares:
		if o.K < 1 || o.Stride < 1 {
			return "K and Stride must be at least 1"
		}
		if o.R < 1 || o.R%2 == 0 {
			return "the window R must be odd"
		}
		window = float64(o.R) * float64(o.R)
	case ShortcutForward, ShortcutGrad:
		if o.Stride < 1 {
			return "Stride must be at least 1"
		}
		if o.K < o.C {
			return "a shortcut can't have fewer output than input channels"
		}
	case LinearForward, LinearDataGrad, LinearWeightGrad, LinearSquares:
		if o.K < 1 {
			return "K must be at least 1"
		}
		if o.H != 1 || o.W != 1 {
			return "H and W of a linear layer must be 1"
		}
	case View:
		if o.Pad < 0 {
			return "Pad must not be negative"
		}
	}
	if o.Block < 0 || o.Block > most || o.Repeat < 0 || images && o.N%o.Repeats() != 0 {
		return "Block and Repeat must not be negative, and Repeat divides N"
	}
	shared := o.Kind == NormForward || o.Kind == NormDataGrad
	if o.GroupStride < 0 && !(shared && o.GroupStride == -1) || o.RecordStride < 0 {
		return "a negative stride between groups"
	}
	pixels := float64(o.Groups) * float64(max(o.N, 1)) * float64(max(o.H, 1)) * float64(max(o.W, 1))
	for _, channels := range []int{o.C, o.K} {
		if float64(channels) > most || pixels*float64(max(o.Padded(channels), 1)) > most {
			return "more than 2^40 elements"
		}
	}
	if float64(max(o.K, 1))*float64(max(o.C, 1))*window > most {
		return "more than 2^40 elements"
	}
	return ""
}

func (o Op) numberFlaw() string {
	for _, v := range []float64{o.Epsilon, o.Scale, o.Temperature, o.Momentum, o.WeightDecay} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "Epsilon, Scale, Temperature, Momentum and WeightDecay must be finite"
		}
	}
	switch o.Kind {
	case NormStats:
		if o.N*o.H*o.W < 2 {
			return "an unbiased variance needs two elements a channel or more"
		}
	case NormFinish:
		if o.Count < 2 {
			return "an unbiased variance needs a Count of 2 or more"
		}
	case NormDataGrad:
		if o.Count < 1 {
			return "Count must be at least 1"
		}
	case OneHot:
		if o.N%o.K != 0 {
			return "K rows an image: K must divide N"
		}
	case KDForward, KDGrad:
		if o.Temperature <= 0 {
			return "Temperature must be above 0"
		}
	case GaussianNoise:
		if o.Scale < 0 {
			return "Scale, a standard deviation, must not be negative"
		}
	case SymmetricNoise:
		if o.Scale < 0 || o.Scale > 1 {
			return "Scale, a probability, must lie in [0, 1]"
		}
		if o.K < 2 {
			return "K must be at least 2: a logit takes the value of another"
		}
	}
	if o.Epsilon < 0 {
		return "Epsilon must not be negative"
	}
	return ""
}
