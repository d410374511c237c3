package noise

import (
	"fmt"
	"maps"
	"math"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// The kinds of noise in a spec.
const (
	None      = "none"
	Gaussian  = "gaussian"
	Symmetric = "symmetric"
	Service   = "service"
)

const (
	refreshIteration = "iteration"
	refreshOnce      = "once"
)

const kindsHint = "it is none, gaussian:sigma2=1, symmetric:p=0.3 or service:HOST:PORT"

// maxSigma2 keeps 7 standard deviations, which no draw exceeds, within float32.
const maxSigma2 = 1e75

// name is what a parameter may be called, so that it needs no quoting where it is typed.
var name = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// Parse reads a noise as it is typed:
//
//	none | gaussian:sigma2=1[,refresh=once] | symmetric:p=0.3[,refresh=once] | service:HOST:PORT[?k=v&k2=v2&refresh=once]
//
// refresh is iteration where it is not given. address is HOST:PORT of a service, or of its replicas with + between them, else empty. The spec's service name is left unset: it is what
// the service itself answers (Describe). The error wraps ErrSpec and is one sentence.
func Parse(s string) (spec *ditherv1.NoiseSpec, address string, err error) {
	kind, rest, more := strings.Cut(s, ":")
	spec = &ditherv1.NoiseSpec{Kind: kind, Parameters: map[string]float64{}}
	var list []string
	switch kind {
	case None:
		if more {
			err = fmt.Errorf("none takes nothing, %q was given: say none", rest)
		}
	case Gaussian, Symmetric:
		if rest != "" {
			list = strings.Split(rest, ",")
		}
	case Service:
		var query string
		var asked bool
		if address, query, asked = strings.Cut(rest, "?"); asked {
			list = strings.Split(query, "&")
		}
		err = checkAddresses(address)
	}
	for _, item := range list {
		if err == nil {
			err = setParameter(spec, item)
		}
	}
	if spec.Refresh == "" {
		spec.Refresh = refreshIteration
	}
	if err == nil {
		err = check(spec)
	}
	if err != nil {
		return nil, "", fmt.Errorf("%w %q: %w", ErrSpec, s, err)
	}
	return spec, address, nil
}

func setParameter(spec *ditherv1.NoiseSpec, item string) error {
	key, value, ok := strings.Cut(item, "=")
	_, twice := spec.Parameters[key]
	switch {
	case !ok || key == "" || value == "":
		return fmt.Errorf("%q is not of the form NAME=NUMBER", item)
	case twice || key == "refresh" && spec.Refresh != "":
		return fmt.Errorf("%s is given twice: give it once", key)
	case key == "refresh":
		spec.Refresh = value
		return nil
	}
	v, err := strconv.ParseFloat(value, 64)
	if err != nil && !math.IsInf(v, 0) {
		return fmt.Errorf("%s is %q, which is not a number", key, value)
	}
	spec.Parameters[key] = v + 0 // -0 becomes 0: one noise, one spec
	return nil
}

// Format is what Parse reads as this spec and address, parameters sorted by name; a nil spec is none.
func Format(spec *ditherv1.NoiseSpec, address string) string {
	kind := spec.GetKind()
	if spec == nil || kind == None {
		return None
	}
	var list []string
	for _, k := range slices.Sorted(maps.Keys(spec.GetParameters())) {
		list = append(list, k+"="+strconv.FormatFloat(spec.GetParameters()[k], 'g', -1, 64))
	}
	if spec.GetRefresh() == refreshOnce {
		list = append(list, "refresh="+refreshOnce)
	}
	separator, joint := ":", ","
	if kind == Service {
		kind, separator, joint = kind+":"+address, "?", "&"
	}
	if len(list) == 0 {
		return kind
	}
	return kind + separator + strings.Join(list, joint)
}

// Validate says in one sentence why a spec is no noise; the error wraps ErrSpec.
func Validate(spec *ditherv1.NoiseSpec) error {
	if err := check(spec); err != nil {
		return fmt.Errorf("%w: %w", ErrSpec, err)
	}
	return nil
}

func check(spec *ditherv1.NoiseSpec) error {
	switch {
	case spec == nil:
		return fmt.Errorf("none is given: %s", kindsHint)
	case !slices.Contains([]string{None, Gaussian, Symmetric, Service}, spec.GetKind()):
		return fmt.Errorf("unknown kind %q: %s", spec.GetKind(), kindsHint)
	case spec.GetRefresh() != refreshIteration && spec.GetRefresh() != refreshOnce:
		return fmt.Errorf("refresh is %q: it is iteration (a fresh draw at each) or once (one draw a sample for the whole run)", spec.GetRefresh())
	case spec.GetKind() != Service && spec.GetService() != "":
		return fmt.Errorf("%s is built in and has no service, %q was given", spec.GetKind(), spec.GetService())
	}
	return checkNumbers(spec.GetKind(), spec.GetParameters())
}

// checkParameters is Validate for the numbers of a kind alone.
func checkParameters(kind string, parameters map[string]float64) error {
	if err := checkNumbers(kind, parameters); err != nil {
		return fmt.Errorf("%w: %w", ErrSpec, err)
	}
	return nil
}

func checkNumbers(kind string, parameters map[string]float64) error {
	want := map[string]string{Gaussian: "sigma2", Symmetric: "p"}[kind]
	for _, k := range slices.Sorted(maps.Keys(parameters)) {
		v := parameters[k]
		switch {
		case kind == None:
			return fmt.Errorf("none takes no parameters, %s was given", k)
		case want != "" && k != want:
			return fmt.Errorf("%s has no parameter %q: it takes %s", kind, k, want)
		case k == "refresh" || !name.MatchString(k):
			return fmt.Errorf("%q cannot be a parameter's name: use letters, digits, _, - and ., a letter first, and not refresh", k)
		case k == "sigma2" && want == k && !(v >= 0 && v <= maxSigma2):
			return fmt.Errorf("sigma2 is %v: the variance of Gaussian noise is a number from 0 to %g", v, maxSigma2)
		case k == "p" && want == k && !(v >= 0 && v <= 1):
			return fmt.Errorf("p is %v: the probability of a swap lies in [0, 1]", v)
		case math.IsNaN(v) || math.IsInf(v, 0):
			return fmt.Errorf("%s is %v: give a finite number", k, v)
		}
	}
	if _, given := parameters[want]; want != "" && !given {
		example := map[string]string{Gaussian: "gaussian:sigma2=1", Symmetric: "symmetric:p=0.3"}[kind]
		return fmt.Errorf("%s needs %s: say %s", kind, want, example)
	}
	return nil
}

// replicas are the addresses of a service's replicas, as they are typed: HOST:PORT+HOST:PORT.
func replicas(addresses string) []string { return strings.Split(addresses, "+") }

func checkAddresses(addresses string) error {
	for _, address := range replicas(addresses) {
		if err := checkAddress(address); err != nil {
			return err
		}
	}
	return nil
}

func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || strings.ContainsAny(host, "/ \t") {
		return fmt.Errorf("%q is no address of a service: say service:HOST:PORT, such as service:localhost:9000", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("port %q is no number from 1 to 65535: say service:HOST:PORT, such as service:localhost:9000", port)
	}
	return nil
}
