package noise

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// failed are the names of the items that are not OK, in order.
func failed(r *CheckReport) []string {
	names := []string{}
	for _, i := range r.Items {
		if !i.OK {
			names = append(names, i.Name)
		}
	}
	return names
}

func report(t *testing.T, n Noise, o CheckOptions) *CheckReport {
	t.Helper()
	r, err := Check(context.Background(), n, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Errorf("the report is no JSON: %v", err)
	}
	if r.OK != (len(failed(r)) == 0) {
		t.Errorf("ok is %v and %v failed", r.OK, failed(r))
	}
	return r
}

func TestHonestNoisesPass(t *testing.T) {
	for _, s := range []string{"none", "gaussian:sigma2=0", "gaussian:sigma2=1", "gaussian:sigma2=1e-20", "gaussian:sigma2=1e-12", "gaussian:sigma2=1e-6", "gaussian:sigma2=1e70",
		"symmetric:p=0", "symmetric:p=1e-7", "symmetric:p=0.3", "symmetric:p=1"} {
		for _, o := range []CheckOptions{{}, {Seed: 77, Samples: 33, Iterations: 20, Classes: 3}, {Samples: 32, Iterations: 8, Classes: 2}} {
			if r := report(t, typed(t, s), o); !r.OK {
				t.Errorf("%s, %+v: %+v", s, o, r.Items)
			}
		}
		if r := report(t, dial(t, serve(t, NewServer(typed(t, s))), nil, ClientOptions{}), CheckOptions{Samples: 64, Iterations: 16}); !r.OK {
			t.Errorf("%s as a service: %+v", s, r.Items)
		}
	}
}

// liar is a Gaussian noise of variance 1 that is spoilt in one way.
type liar struct {
	gaussian
	says  func(*Description)
	spoil func(seed uint64, iteration uint32, samples []uint32, logits, out []float32)
}

func (l liar) Describe(ctx context.Context) (Description, error) {
	d, err := l.gaussian.Describe(ctx)
	d.Name = "liar"
	if l.says != nil {
		l.says(&d)
	}
	return d, err
}

func (l liar) Perturb(ctx context.Context, seed uint64, iteration uint32, samples []uint32, logits, out []float32) error {
	given := slices.Clone(logits)
	if err := l.gaussian.Perturb(ctx, seed, iteration, samples, logits, out); err != nil || l.spoil == nil {
		return err
	}
	l.spoil(seed, iteration, samples, given, out)
	return nil
}

func TestLiesAreFound(t *testing.T) {
	honest := newGaussian(1)
	var mu sync.Mutex
	source := rand.New(rand.NewPCG(1, 2))
	fresh := func(_ uint64, _ uint32, _ []uint32, logits, out []float32) {
		mu.Lock()
		defer mu.Unlock()
		for i := range out {
			out[i] = logits[i] + float32(source.NormFloat64())
		}
	}
	for _, v := range []struct {
		name string
		n    Noise
		want []string
	}{
		{"honest", liar{gaussian: honest}, nil},
		{"a bias of 0.05 everywhere", liar{honest, nil, func(_ uint64, _ uint32, _ []uint32, _, out []float32) {
			for i := range out {
				out[i] += 0.05
			}
		}}, []string{"unbiased"}},
		{"a bias of the greatest logit only", liar{honest, nil, func(_ uint64, _ uint32, _ []uint32, logits, out []float32) {
			for i := range out {
				if logits[i] > 10 {
					out[i] -= 0.2
				}
			}
		}}, []string{"unbiased"}},
		{"variance 1, 1.1 claimed", liar{honest, func(d *Description) { d.Variance = 1.1 }, nil}, []string{"scale"}},
		{"variance 1, none claimed", liar{honest, func(d *Description) { d.Variance = 0 }, nil}, []string{"scale"}},
		{"two signs, called gaussian", liar{honest, func(d *Description) { d.Name = "gaussian" }, func(_ uint64, _ uint32, _ []uint32, logits, out []float32) {
			for i := range out {
				out[i] = logits[i] + float32(math.Copysign(1, float64(out[i]-logits[i])))
			}
		}}, []string{"normal"}},
		{"two signs under another name", liar{honest, nil, func(_ uint64, _ uint32, _ []uint32, logits, out []float32) {
			for i := range out {
				out[i] = logits[i] + float32(math.Copysign(1, float64(out[i]-logits[i])))
			}
		}}, nil},
		{"a new draw when asked again", liar{honest, nil, fresh}, []string{"replayable"}},
		{"a new draw when asked again, as it says", liar{honest, func(d *Description) { d.Replayable = false }, fresh}, nil},
		{"depends on the place in the batch", liar{honest, nil, func(_ uint64, iteration uint32, samples []uint32, logits, out []float32) {
			places := make([]uint32, len(samples))
			for i := range places {
				places[i] = uint32(i)
			}
			_ = honest.Perturb(context.Background(), 1, iteration, places, logits, out)
		}}, []string{"independent", "replayable"}}, // and on no seed
		{"one draw for all samples", liar{honest, nil, func(seed uint64, iteration uint32, samples []uint32, logits, out []float32) {
			_ = honest.Perturb(context.Background(), seed, iteration, make([]uint32, len(samples)), logits, out)
		}}, []string{"independent"}},
		{"one draw for all iterations", liar{honest, nil, func(seed uint64, _ uint32, samples []uint32, logits, out []float32) {
			_ = honest.Perturb(context.Background(), seed, 1, samples, logits, out)
		}}, []string{"independent"}},
		{"the seed is ignored", liar{honest, nil, func(_ uint64, iteration uint32, samples []uint32, logits, out []float32) {
			_ = honest.Perturb(context.Background(), 9, iteration, samples, logits, out)
		}}, []string{"independent"}},
		{"neighbouring classes share", liar{honest, nil, func(_ uint64, _ uint32, samples []uint32, logits, out []float32) {
			for i := len(out) - 1; i > 0; i-- {
				if i%(len(out)/len(samples)) > 0 {
					out[i] = logits[i] + 0.6*(out[i-1]-logits[i-1]) + 0.8*(out[i]-logits[i])
				}
			}
		}}, []string{"independent"}},
		{"symmetric that keeps to itself", liar{honest, func(d *Description) {
			*d = Description{Name: "symmetric", Parameters: map[string]float64{"p": 0.3}, Variance: -1, Replayable: true}
		}, func(_ uint64, _ uint32, _ []uint32, logits, out []float32) { copy(out, logits) }}, []string{"eq21"}},
		{"symmetric with values of its own", liar{honest, func(d *Description) {
			*d = Description{Name: "symmetric", Parameters: map[string]float64{"p": 0.3}, Variance: -1, Replayable: true}
		}, nil}, []string{"eq21"}},
		{"NaN", liar{honest, nil, func(_ uint64, iteration uint32, _ []uint32, _, out []float32) {
			if iteration == 5 {
				out[0] = float32(math.NaN())
			}
		}}, []string{"answers"}},
	} {
		r := report(t, v.n, CheckOptions{})
		if got := failed(r); !slices.Equal(got, v.want) {
			// A lie may be found in more than one way, but must be found in its own.
			missed := slices.DeleteFunc(slices.Clone(v.want), func(w string) bool { return slices.Contains(got, w) })
			if len(missed) > 0 || len(v.want) == 0 {
				t.Errorf("%s: %v failed, want %v: %+v", v.name, got, v.want, r.Items)
			}
		}
	}
}

func TestSymmetricWithAnotherPIsFound(t *testing.T) {
	n := renamed{symmetric{p: 0.32}, Description{Name: "symmetric", Parameters: map[string]float64{"p": 0.3}, Variance: -1, Replayable: true}}
	if got := failed(report(t, n, CheckOptions{})); !slices.Equal(got, []string{"eq21"}) {
		t.Errorf("%v failed, want eq21", got)
	}
}

type renamed struct {
	Noise
	d Description
}

func (r renamed) Describe(context.Context) (Description, error) { return r.d, nil }

func TestServicesThatTakeAnythingAreFound(t *testing.T) {
	honest := NewServer(typed(t, "gaussian:sigma2=1"))
	describe := &ditherv1.DescribeResponse{Name: "careless", Replayable: true, Unbiased: true, Variance: 1}
	for want, careless := range map[string]func(context.Context, *ditherv1.PerturbRequest) (*ditherv1.PerturbResponse, error){
		"answered as if nothing were wrong": func(ctx context.Context, q *ditherv1.PerturbRequest) (*ditherv1.PerturbResponse, error) {
			a, err := honest.Perturb(ctx, q)
			if err != nil {
				return &ditherv1.PerturbResponse{}, nil
			}
			return a, nil
		},
		"refused otherwise": func(ctx context.Context, q *ditherv1.PerturbRequest) (*ditherv1.PerturbResponse, error) {
			a, err := honest.Perturb(ctx, q)
			if err != nil {
				return nil, status.Error(codes.Unknown, "IndexError")
			}
			return a, nil
		},
	} {
		r := report(t, dial(t, serve(t, &scripted{describe: describe, perturb: careless}), nil, quick()), CheckOptions{Samples: 32, Iterations: 8})
		if got := failed(r); !slices.Equal(got, []string{"refuses"}) {
			t.Fatalf("%v failed, want refuses", got)
		}
		if i := r.Items[len(r.Items)-1]; !strings.Contains(i.Detail, want) || i.Statistic != 6 {
			t.Errorf("%+v, want 6 faults with %q", i, want)
		}
	}
}

func TestServiceOfTheWrongShapeIsFound(t *testing.T) {
	s := answering(func(*ditherv1.Tensor) *ditherv1.Tensor { return newTensor(1, 3, make([]float32, 3)) })
	s.describe = &ditherv1.DescribeResponse{Name: "small"}
	r := report(t, dial(t, serve(t, s), nil, quick()), CheckOptions{})
	if got := failed(r); !slices.Equal(got, []string{"answers"}) || !strings.Contains(r.Items[0].Detail, "logits of shape [1 3]") {
		t.Errorf("%+v", r.Items)
	}
}

func TestCheckThatCannotBe(t *testing.T) {
	for _, o := range []CheckOptions{{Samples: 31}, {Iterations: 7}, {Classes: 1}, {Samples: -1}} {
		if _, err := Check(context.Background(), none{}, o); !errors.Is(err, ErrRequest) {
			t.Errorf("%+v: %v, want ErrRequest", o, err)
		}
	}
	if _, err := Check(context.Background(), dial(t, freeAddress(t), nil, quick()), CheckOptions{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("nothing there: %v, want ErrUnavailable", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Check(ctx, none{}, CheckOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v, want the context's error", err)
	}
}
