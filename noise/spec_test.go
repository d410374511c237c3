package noise

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func TestParse(t *testing.T) {
	for _, v := range []struct {
		typed, address, again string
		want                  *ditherv1.NoiseSpec
	}{
		{"none", "", "none", &ditherv1.NoiseSpec{Kind: "none", Refresh: "iteration"}},
		{"gaussian:sigma2=1", "", "gaussian:sigma2=1", &ditherv1.NoiseSpec{Kind: "gaussian", Parameters: map[string]float64{"sigma2": 1}, Refresh: "iteration"}},
		{"gaussian:refresh=once,sigma2=2.50", "", "gaussian:sigma2=2.5,refresh=once", &ditherv1.NoiseSpec{Kind: "gaussian", Parameters: map[string]float64{"sigma2": 2.5}, Refresh: "once"}},
		{"gaussian:sigma2=-0", "", "gaussian:sigma2=0", &ditherv1.NoiseSpec{Kind: "gaussian", Parameters: map[string]float64{"sigma2": 0}, Refresh: "iteration"}},
		{"symmetric:p=0.3", "", "symmetric:p=0.3", &ditherv1.NoiseSpec{Kind: "symmetric", Parameters: map[string]float64{"p": 0.3}, Refresh: "iteration"}},
		{"symmetric:p=1", "", "symmetric:p=1", &ditherv1.NoiseSpec{Kind: "symmetric", Parameters: map[string]float64{"p": 1}, Refresh: "iteration"}},
		{"service:node-3:9000", "node-3:9000", "service:node-3:9000", &ditherv1.NoiseSpec{Kind: "service", Refresh: "iteration"}},
		{"service:[::1]:9000?k=-1e-3&a_b=2&refresh=once", "[::1]:9000", "service:[::1]:9000?a_b=2&k=-0.001&refresh=once",
			&ditherv1.NoiseSpec{Kind: "service", Parameters: map[string]float64{"k": -1e-3, "a_b": 2}, Refresh: "once"}},
	} {
		spec, address, err := Parse(v.typed)
		if err != nil || !proto.Equal(spec, v.want) || address != v.address {
			t.Errorf("Parse(%q) = %v, %q, %v, want %v, %q", v.typed, spec, address, err, v.want, v.address)
			continue
		}
		if again := Format(spec, address); again != v.again {
			t.Errorf("Format(Parse(%q)) = %q, want %q", v.typed, again, v.again)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for typed, want := range map[string]string{
		"":                                   `unknown kind "": it is none, gaussian:sigma2=1`,
		"uniform:width=1":                    `unknown kind "uniform"`,
		"Gaussian:sigma2=1":                  `unknown kind "Gaussian"`,
		"none:p=1":                           `none takes nothing`,
		"gaussian":                           `gaussian needs sigma2: say gaussian:sigma2=1`,
		"gaussian:":                          `gaussian needs sigma2`,
		"gaussian:sigma=1":                   `gaussian has no parameter "sigma": it takes sigma2`,
		"gaussian:sigma2=-1":                 `sigma2 is -1: the variance of Gaussian noise is a number from 0 to`,
		"gaussian:sigma2=NaN":                `sigma2 is NaN`,
		"gaussian:sigma2=Inf":                `sigma2 is +Inf`,
		"gaussian:sigma2=1e999":              `sigma2 is +Inf`,
		"gaussian:sigma2=1e76":               `sigma2 is 1e+76`,
		"gaussian:sigma2=one":                `sigma2 is "one", which is not a number`,
		"gaussian:sigma2=":                   `"sigma2=" is not of the form NAME=NUMBER`,
		"gaussian:sigma2=1,":                 `"" is not of the form NAME=NUMBER`,
		"gaussian:sigma2=0.1,0.5":            `"0.5" is not of the form NAME=NUMBER`,
		"gaussian:sigma2=1,sigma2=2":         `sigma2 is given twice`,
		"gaussian:sigma2=1,refresh=daily":    `refresh is "daily": it is iteration`,
		"gaussian:sigma2=1,refresh=":         `"refresh=" is not of the form`,
		"gaussian:sigma2=1,p=2":              `gaussian has no parameter "p"`,
		"symmetric":                          `symmetric needs p: say symmetric:p=0.3`,
		"symmetric:p=1.01":                   `p is 1.01: the probability of a swap lies in [0, 1]`,
		"symmetric:p=-0.1":                   `p is -0.1`,
		"symmetric:p=NaN":                    `p is NaN`,
		"symmetric:p=0.3,refresh=once,q=1":   `symmetric has no parameter "q"`,
		"service":                            `"" is no address of a service`,
		"service:":                           `"" is no address of a service`,
		"service:localhost":                  `"localhost" is no address of a service: say service:HOST:PORT`,
		"service::9000":                      `":9000" is no address`,
		"service:http://localhost:9000":      `is no address of a service`,
		"service:localhost:0":                `port "0" is no number from 1 to 65535`,
		"service:localhost:65536":            `port "65536"`,
		"service:localhost:http":             `port "http"`,
		"service:localhost:9000?":            `"" is not of the form NAME=NUMBER`,
		"service:localhost:9000?k":           `"k" is not of the form NAME=NUMBER`,
		"service:localhost:9000?k=Inf":       `k is +Inf: give a finite number`,
		"service:localhost:9000?a b=1":       `"a b" cannot be a parameter's name`,
		"service:localhost:9000?k=1&k=1":     `k is given twice`,
		"gaussian:refresh=once,refresh=once": `refresh is given twice`,
	} {
		spec, _, err := Parse(typed)
		switch {
		case err == nil:
			t.Errorf("Parse(%q) = %v, want an error with %q", typed, spec, want)
		case !errors.Is(err, ErrSpec) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", typed)) || strings.Contains(err.Error(), "\n"):
			t.Errorf("Parse(%q): %q, want one sentence with it and %q", typed, err, want)
		}
	}
}

func TestValidateRefuses(t *testing.T) {
	for want, spec := range map[string]*ditherv1.NoiseSpec{
		"none is given":                 nil,
		"unknown kind":                  {Kind: "laplace", Refresh: "iteration"},
		"refresh is \"\"":               {Kind: "none"},
		"none takes no parameters":      {Kind: "none", Refresh: "iteration", Parameters: map[string]float64{"p": 1}},
		"has no service":                {Kind: "gaussian", Refresh: "iteration", Parameters: map[string]float64{"sigma2": 1}, Service: "x"},
		"sigma2 is -2":                  {Kind: "gaussian", Refresh: "iteration", Parameters: map[string]float64{"sigma2": -2}},
		"p is +Inf":                     {Kind: "symmetric", Refresh: "once", Parameters: map[string]float64{"p": math.Inf(1)}},
		`"refresh" cannot be`:           {Kind: "service", Refresh: "once", Parameters: map[string]float64{"refresh": 1}},
		"k is NaN: give a finite numbe": {Kind: "service", Refresh: "once", Parameters: map[string]float64{"k": math.NaN()}},
	} {
		if err := Validate(spec); !errors.Is(err, ErrSpec) || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate(%v) = %v, want %q", spec, err, want)
		}
		if _, err := New(spec, "localhost:1"); !errors.Is(err, ErrSpec) {
			t.Errorf("New(%v): %v, want ErrSpec", spec, err)
		}
	}
	if _, err := New(&ditherv1.NoiseSpec{Kind: Service, Refresh: "iteration"}, ""); !errors.Is(err, ErrSpec) {
		t.Errorf("New of a service without address: %v, want ErrSpec", err)
	}
}

func TestFormatIsParsesInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := &ditherv1.NoiseSpec{Kind: rapid.SampledFrom([]string{None, Gaussian, Symmetric, Service}).Draw(t, "kind"), Refresh: "iteration"}
		address := ""
		if spec.Kind != None && rapid.Bool().Draw(t, "once") {
			spec.Refresh = "once"
		}
		switch spec.Kind {
		case Gaussian:
			spec.Parameters = map[string]float64{"sigma2": rapid.Float64Range(0, maxSigma2).Draw(t, "sigma2")}
		case Symmetric:
			spec.Parameters = map[string]float64{"p": rapid.Float64Range(0, 1).Draw(t, "p")}
		case Service:
			names := rapid.StringMatching(name.String()).Filter(func(s string) bool { return s != "refresh" })
			spec.Parameters = maps.Collect(maps.All(rapid.MapOf(names, rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64)).Draw(t, "parameters")))
			address = fmt.Sprintf("%s:%d", rapid.SampledFrom([]string{"localhost", "10.0.0.7", "[fe80::1]", "node-3.lab"}).Draw(t, "host"), rapid.IntRange(1, 65535).Draw(t, "port"))
		}
		text := Format(spec, address)
		got, gotAddress, err := Parse(text)
		if err != nil || !proto.Equal(got, spec) || gotAddress != address {
			t.Fatalf("Parse(%q) = %v, %q, %v, want %v, %q", text, got, gotAddress, err, spec, address)
		}
	})
}

// Whatever is typed, Parse answers a spec that is valid and comes back from Format, or ErrSpec.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"none", "gaussian:sigma2=1,refresh=once", "symmetric:p=0.3", "service:h:1?k=v&l=2", "gaussian:sigma2=0x1p-3", "service:[::1]:1?=&&", ":::?=,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		spec, address, err := Parse(s)
		if err != nil {
			if !errors.Is(err, ErrSpec) {
				t.Fatalf("Parse(%q): %v, want ErrSpec", s, err)
			}
			return
		}
		again, addressAgain, err := Parse(Format(spec, address))
		if Validate(spec) != nil || err != nil || !proto.Equal(spec, again) || address != addressAgain {
			t.Fatalf("Parse(%q) = %v, which comes back as %v, %v", s, spec, again, err)
		}
	})
}

func TestIteration(t *testing.T) {
	for typed, want := range map[string]uint32{"gaussian:sigma2=1": 7, "gaussian:sigma2=1,refresh=once": 0, "none": 7} {
		spec, _, err := Parse(typed)
		if err != nil {
			t.Fatal(err)
		}
		if got := Iteration(spec, 7); got != want {
			t.Errorf("Iteration(%s, 7) = %d, want %d", typed, got, want)
		}
	}
}
