package trainer

import (
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// TestATeacherIsKilledAndStartedAgain: by gRPC, with its process's connections broken, at the same port and at another.
func TestATeacherIsKilledAndStartedAgain(t *testing.T) {
	begin := func(address string) (at string, kill func()) {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		g := grpc.NewServer()
		ditherv1.RegisterTeacherServiceServer(g, labeller{classes: labelClasses})
		served := make(chan error, 1)
		go func() { served <- g.Serve(l) }()
		return l.Addr().String(), func() { g.Stop(); <-served }
	}
	samples := func(k uint32) []uint32 { return []uint32{k, 2 * k} }
	want := func(k uint32) []float32 {
		a, err := labeller{classes: labelClasses}.NoisyLabels(t.Context(), &ditherv1.NoisyLabelsRequest{Iteration: k, Samples: samples(k)})
		if err != nil {
			t.Fatal(err)
		}
		v := make([]float32, 2*labelClasses)
		if err := a.GetLabels().ReadFloat32(v, 2, labelClasses); err != nil {
			t.Fatal(err)
		}
		return v
	}
	teachers := make(chan []*ditherv1.Member, 1)
	run := &ditherv1.GetRunResponse{Options: &ditherv1.RunOptions{LabelDepth: 2}, Spec: &ditherv1.RunSpec{Batch: 2, Shards: 1, Dataset: &ditherv1.DatasetSpec{Classes: labelClasses}}}
	l := NewLabels(LabelsConfig{ID: "t", Run: run, Teachers: teachers, Logger: slog.New(slog.DiscardHandler)})
	defer l.Close()
	l.Begin(1, 40, samples)
	address, kill := begin("127.0.0.1:0")
	teachers <- []*ditherv1.Member{{Id: "one", Role: "teacher", Address: address}}
	began := time.Now()
	for k := uint32(1); k <= 40; k++ {
		if k == 11 {
			kill()
			_, kill = begin(address)
		}
		if k == 21 {
			kill()
			var other string
			other, kill = begin("127.0.0.1:0")
			teachers <- []*ditherv1.Member{{Id: "one", Role: "teacher", Address: other}}
		}
		got, err := l.Take(t.Context(), k)
		if err != nil || !slices.Equal(got, want(k)) {
			t.Fatalf("iteration %d: %v, %v", k, got, err)
		}
	}
	if d := time.Since(began); d > 8*time.Second {
		t.Errorf("two restarts took %v", d)
	}
	kill()
}
