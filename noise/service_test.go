package noise

import (
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// scripted is a service that does as a test says.
type scripted struct {
	ditherv1.UnimplementedNoiseServiceServer
	describe *ditherv1.DescribeResponse
	perturb  func(ctx context.Context, q *ditherv1.PerturbRequest) (*ditherv1.PerturbResponse, error)
}

func (s *scripted) Describe(context.Context, *ditherv1.DescribeRequest) (*ditherv1.DescribeResponse, error) {
	return s.describe, nil
}

func (s *scripted) Perturb(ctx context.Context, q *ditherv1.PerturbRequest) (*ditherv1.PerturbResponse, error) {
	return s.perturb(ctx, q)
}

// answering is a service that changes the tensor it is given.
func answering(change func(t *ditherv1.Tensor) *ditherv1.Tensor) *scripted {
	return &scripted{perturb: func(_ context.Context, q *ditherv1.PerturbRequest) (*ditherv1.PerturbResponse, error) {
		return &ditherv1.PerturbResponse{Logits: change(q.GetLogits())}, nil
	}}
}

func TestServiceIsTheNoiseItself(t *testing.T) {
	samples := make([]uint32, 3000)
	for i := range samples {
		samples[i] = uint32(i) * 7919
	}
	logits := make([]float32, len(samples)*100) // more than one message
	for i := range logits {
		logits[i] = float32(i%100) / 3
	}
	if 4*len(logits) <= chunkBytes {
		t.Fatalf("%d logits fit one message", len(logits))
	}
	for _, s := range []string{"none", "gaussian:sigma2=1.5", "symmetric:p=0.4"} {
		builtin := typed(t, s)
		client := dial(t, serve(t, NewServer(builtin)), nil, ClientOptions{})
		want, err := builtin.Describe(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.Describe(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if got.Name != want.Name || got.Replayable != want.Replayable || got.Unbiased != want.Unbiased || got.Variance != want.Variance {
			t.Errorf("%s: the service says %+v, the noise %+v", s, got, want)
		}
		for range 2 {
			if !slices.Equal(perturb(t, client, 3, 5, samples, logits), perturb(t, builtin, 3, 5, samples, logits)) {
				t.Errorf("%s: the service's draws are not the noise's", s)
			}
		}
	}
}

func TestUsersParametersReachTheService(t *testing.T) {
	address := serve(t, NewServer(typed(t, "gaussian:sigma2=1")))
	logits := make([]float32, 10)
	client := dial(t, address, map[string]float64{"sigma2": 9}, ClientOptions{})
	if !slices.Equal(perturb(t, client, 1, 1, []uint32{1}, logits), perturb(t, typed(t, "gaussian:sigma2=9"), 1, 1, []uint32{1}, logits)) {
		t.Error("the service did not take sigma2 from the user")
	}
	if d, err := client.Describe(context.Background()); err != nil || d.Variance != 9 {
		t.Errorf("Describe = %+v, %v, want variance 9", d, err)
	}
	for name, parameters := range map[string]map[string]float64{"sigma2 is -1": {"sigma2": -1}, "no parameter \"p\"": {"p": 0.1}} {
		_, err := dial(t, address, parameters, ClientOptions{}).Describe(context.Background())
		if !errors.Is(err, ErrAnswer) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), address) {
			t.Errorf("parameters %v: %v, want ErrAnswer with %q", parameters, err, name)
		}
	}
	none := serve(t, NewServer(typed(t, "none")))
	if _, err := dial(t, none, map[string]float64{"k": 1}, ClientOptions{}).Describe(context.Background()); status.Code(err) != codes.InvalidArgument {
		t.Errorf("parameters for none: %v, want INVALID_ARGUMENT", err)
	}
}

func TestBadAnswers(t *testing.T) {
	for _, v := range []struct {
		name   string
		change func(*ditherv1.Tensor) *ditherv1.Tensor
		want   string
	}{
		{"nothing", func(*ditherv1.Tensor) *ditherv1.Tensor { return nil }, "it answered no logits, want [2][3]"},
		{"one row too few", func(*ditherv1.Tensor) *ditherv1.Tensor { return newTensor(1, 3, make([]float32, 3)) }, "it answered logits of shape [1 3], want [2][3]"},
		{"other classes", func(*ditherv1.Tensor) *ditherv1.Tensor { return newTensor(2, 4, make([]float32, 8)) }, "it answered logits of shape [2 4], want [2][3]"},
		{"one dimension", func(x *ditherv1.Tensor) *ditherv1.Tensor { x.Shape = []int64{6}; return x }, "it answered logits of shape [6], want [2][3]"},
		{"float64", func(x *ditherv1.Tensor) *ditherv1.Tensor { x.Dtype = ditherv1.ElementType_ELEMENT_TYPE_F64; return x }, "it answered logits of type ELEMENT_TYPE_F64"},
		{"too few bytes", func(x *ditherv1.Tensor) *ditherv1.Tensor { x.Data = x.Data[:23]; return x }, "it answered 23 bytes of logits"},
		{"too many bytes", func(x *ditherv1.Tensor) *ditherv1.Tensor { x.Data = make([]byte, 48); return x }, "it answered 48 bytes of logits"},
		{"NaN", func(*ditherv1.Tensor) *ditherv1.Tensor {
			return newTensor(2, 3, []float32{0, 0, 0, 0, float32(math.NaN()), 0})
		}, "iteration 12, sample 40, class 1): it answered NaN"},
		{"infinity", func(*ditherv1.Tensor) *ditherv1.Tensor {
			return newTensor(2, 3, []float32{0, 0, float32(math.Inf(1)), 0, 0, 0})
		}, "iteration 12, sample 30, class 2): it answered +Inf"},
	} {
		address := serve(t, answering(v.change))
		err := dial(t, address, nil, quick()).Perturb(context.Background(), 1, 12, []uint32{30, 40}, make([]float32, 6), make([]float32, 6))
		if !errors.Is(err, ErrAnswer) || !strings.Contains(err.Error(), v.want) || !strings.Contains(err.Error(), "noise service "+address) || !strings.Contains(err.Error(), "iteration 12") {
			t.Errorf("%s: %v, want ErrAnswer with %q, the address and the iteration", v.name, err, v.want)
		}
	}
}

func TestBadDescriptions(t *testing.T) {
	for want, d := range map[string]*ditherv1.DescribeResponse{
		"it gives no name":     {},
		"its variance is NaN":  {Name: "mine", Variance: math.NaN()},
		`it is "yours", and`:   {Name: "yours"},
		`made with "mine": st`: {Name: "yours"},
	} {
		n, err := NewClient(serve(t, &scripted{describe: d}), &ditherv1.NoiseSpec{Kind: Service, Refresh: "once", Service: "mine"}, quick())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		if _, err := n.Describe(context.Background()); !errors.Is(err, ErrAnswer) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want ErrAnswer with %q", d, err, want)
		}
	}
}

// freeAddress is where nothing listens.
func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestServiceThatIsDown(t *testing.T) {
	address := freeAddress(t)
	n := dial(t, address, nil, quick())
	err := n.Perturb(context.Background(), 1, 12, []uint32{30}, make([]float32, 3), make([]float32, 3))
	want := "noise service " + address + " does not answer: "
	if !errors.Is(err, ErrUnavailable) || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "refused") || !strings.Contains(err.Error(), "start it with `dither noise serve` or check the address") {
		t.Errorf("%v, want ErrUnavailable with %q and what to do", err, want)
	}
	if _, err := n.Describe(context.Background()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Describe: %v, want ErrUnavailable", err)
	}
}

func TestServiceThatIsSlow(t *testing.T) {
	address := serve(t, &scripted{perturb: func(ctx context.Context, _ *ditherv1.PerturbRequest) (*ditherv1.PerturbResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	o := quick()
	o.Timeout = 30 * time.Millisecond
	err := dial(t, address, nil, o).Perturb(context.Background(), 1, 12, []uint32{30}, make([]float32, 3), make([]float32, 3))
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "noise service "+address+" did not answer within 30ms (iteration 12, 1 samples from 30 on)") {
		t.Errorf("%v, want ErrUnavailable that names address, deadline, iteration and sample", err)
	}
}

func TestCallerGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	address := serve(t, &scripted{perturb: func(ctx context.Context, _ *ditherv1.PerturbRequest) (*ditherv1.PerturbResponse, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	if err := dial(t, address, nil, quick()).Perturb(ctx, 1, 12, []uint32{30}, make([]float32, 3), make([]float32, 3)); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, want the context's error", err)
	}
}

func TestUnavailableIsTriedAgain(t *testing.T) {
	var asked atomic.Int32
	address := serve(t, &scripted{perturb: func(_ context.Context, q *ditherv1.PerturbRequest) (*ditherv1.PerturbResponse, error) {
		if asked.Add(1) < 3 {
			return nil, status.Error(codes.Unavailable, "warming up")
		}
		return &ditherv1.PerturbResponse{Logits: q.GetLogits()}, nil
	}})
	o := quick()
	o.Attempts = 3
	perturb(t, dial(t, address, nil, o), 1, 1, []uint32{1}, make([]float32, 4))
	if got := asked.Load(); got != 3 {
		t.Errorf("asked %d times, want 3", got)
	}
}

func TestRefusalIsNotTriedAgain(t *testing.T) {
	var asked atomic.Int32
	address := serve(t, &scripted{perturb: func(context.Context, *ditherv1.PerturbRequest) (*ditherv1.PerturbResponse, error) {
		asked.Add(1)
		return nil, status.Error(codes.FailedPrecondition, "no key loaded")
	}})
	err := dial(t, address, nil, quick()).Perturb(context.Background(), 1, 12, []uint32{30}, make([]float32, 3), make([]float32, 3))
	if !errors.Is(err, ErrAnswer) || !strings.Contains(err.Error(), "refuses (iteration 12, 1 samples from 30 on): FailedPrecondition: no key loaded") || asked.Load() != 1 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
}

func TestAddressOfSomethingElse(t *testing.T) {
	address := serve(t, ditherv1.UnimplementedNoiseServiceServer{})
	if _, err := dial(t, address, nil, quick()).Describe(context.Background()); !errors.Is(err, ErrAnswer) || !strings.Contains(err.Error(), "what listens at "+address+" is no noise service") {
		t.Errorf("%v, want ErrAnswer that says what is there", err)
	}
}

// TestTheNextReplicaIsAsked where one is not there, or goes away.
func TestTheNextReplicaIsAsked(t *testing.T) {
	builtin := typed(t, "gaussian:sigma2=2")
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first := grpc.NewServer()
	ditherv1.RegisterNoiseServiceServer(first, NewServer(builtin))
	served := make(chan error, 1)
	go func() { served <- first.Serve(l) }()
	client := dial(t, gone.Addr().String()+"+"+l.Addr().String()+"+"+serve(t, NewServer(builtin)), nil, quick())
	samples, logits := []uint32{3, 4}, []float32{1, 2, 3, 4}
	for k := range uint32(4) {
		if k == 2 {
			first.Stop()
			<-served
		}
		if !slices.Equal(perturb(t, client, 1, k, samples, logits), perturb(t, builtin, 1, k, samples, logits)) {
			t.Errorf("iteration %d: the draws are not the noise's", k)
		}
	}
	if _, _, err := Parse("service:a:1+b"); err == nil || !strings.Contains(err.Error(), `"b" is no address`) {
		t.Errorf("half an address is taken: %v", err)
	}
}
