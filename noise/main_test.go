package noise

import (
	"context"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve offers a service on a loopback port until the test ends.
func serve(t *testing.T, s ditherv1.NoiseServiceServer) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	ditherv1.RegisterNoiseServiceServer(g, s)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-done; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	return l.Addr().String()
}

// dial makes a client that is closed when the test ends.
func dial(t *testing.T, address string, parameters map[string]float64, o ClientOptions) Noise {
	t.Helper()
	n, err := NewClient(address, &ditherv1.NoiseSpec{Kind: Service, Parameters: parameters, Refresh: "iteration"}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// quick are options of a client that gives up soon.
func quick() ClientOptions {
	return ClientOptions{Timeout: 5 * time.Second, Attempts: 2, Backoff: time.Millisecond}
}

// typed is the built-in noise that a user names.
func typed(t testing.TB, s string) Noise {
	t.Helper()
	spec, address, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(spec, address)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func perturb(t testing.TB, n Noise, seed uint64, iteration uint32, samples []uint32, logits []float32) []float32 {
	t.Helper()
	out := make([]float32, len(logits))
	if err := n.Perturb(context.Background(), seed, iteration, samples, logits, out); err != nil {
		t.Fatal(err)
	}
	return out
}
