package trainer

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// labeller answers soft labels that are a function of (iteration, sample, class).
type labeller struct {
	ditherv1.UnimplementedTeacherServiceServer
	classes int
}

func (l labeller) NoisyLabels(_ context.Context, r *ditherv1.NoisyLabelsRequest) (*ditherv1.NoisyLabelsResponse, error) {
	var v []float32
	for _, s := range r.GetSamples() {
		for c := range l.classes {
			v = append(v, float32((int(s)*7+int(r.GetIteration())*3+c*5)%11)/11)
		}
	}
	return &ditherv1.NoisyLabelsResponse{Labels: ditherv1.Float32Tensor(v, int64(len(r.GetSamples())), int64(l.classes))}, nil
}

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
