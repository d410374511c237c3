package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dither-ml/dither/noise"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// maxScales bounds what a typing error can ask for.
const maxScales = 1000

// scaleOf is the parameter that is a built-in noise's scale.
var scaleOf = map[string]string{noise.Gaussian: "sigma2", noise.Symmetric: "p"}

// parseScales reads a noise with one scale or more, "gaussian:sigma2=0.1,0.5,1..10,refresh=once", as that many noises in ascending order.
func parseScales(text string) ([]*ditherv1.NoiseSpec, error) {
	bad := func(format string, args ...any) ([]*ditherv1.NoiseSpec, error) {
		return nil, badInputf("--noise %s: %s", text, fmt.Sprintf(format, args...))
	}
	kind, rest, _ := strings.Cut(text, ":")
	if kind == noise.None {
		if rest != "" {
			return bad("none takes nothing")
		}
		return nil, nil // noiseless distillation is in every design that has a place for it
	}
	if kind == noise.Service {
		return bad("a study does not keep the address of a service; train with it run by run, with `dither run`")
	}
	scale, known := scaleOf[kind]
	if !known {
		return bad("a study varies the scale of gaussian or symmetric noise, and %q is neither", kind)
	}
	var values []float64
	var refresh string
	inScale := false
	for item := range strings.SplitSeq(rest, ",") {
		key, value, named := strings.Cut(strings.TrimSpace(item), "=")
		switch {
		case named && key == "refresh":
			refresh, inScale = ","+key+"="+value, false
			continue
		case named && key != scale:
			return bad("%s noise has no %s; its scale is %s, as in %s:%s=0.1,0.5", kind, key, scale, kind, scale)
		case named:
			inScale = true
		case !inScale:
			return bad("%q is no scale; write %s:%s=0.1,0.5", item, kind, scale)
		default:
			value = key
		}
		more, err := parseRange(value)
		if err != nil {
			return bad("%s %v", scale, err)
		}
		if values = append(values, more...); len(values) > maxScales {
			return bad("more than %d scales", maxScales)
		}
	}
	slices.Sort(values)
	var out []*ditherv1.NoiseSpec
	for i, v := range values {
		if i > 0 && v == values[i-1] {
			return bad("%s=%v is there twice", scale, v)
		}
		spec, _, err := noise.Parse(fmt.Sprintf("%s:%s=%s%s", kind, scale, strconv.FormatFloat(v, 'g', -1, 64), refresh))
		if err != nil {
			return nil, badInput(err)
		}
		out = append(out, spec)
	}
	return out, nil
}

// parseRange reads a number, or the whole numbers from one to another: "1..10".
func parseRange(text string) ([]float64, error) {
	if low, high, ok := strings.Cut(text, ".."); ok {
		a, err := strconv.Atoi(low)
		b, err2 := strconv.Atoi(high)
		if err != nil || err2 != nil || a > b || b-a > maxScales {
			return nil, fmt.Errorf("%q is no range of whole numbers, such as 1..10", text)
		}
		var out []float64
		for v := a; v <= b; v++ {
			out = append(out, float64(v))
		}
		return out, nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v-v != 0 {
		return nil, fmt.Errorf("%q is no number", text)
	}
	return []float64{v}, nil
}
