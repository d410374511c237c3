package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/dither-ml/dither/dataloader"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/checkpoint"
	"github.com/dither-ml/dither/trainer/kernel/cpu"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	runIterations = 6
	runShards     = 4
)

// coordinator is a coordinator in memory.
type coordinator struct {
	ditherv1.UnimplementedCoordinatorServiceServer
	mu         sync.Mutex
	checkpoint []byte
	reports    []*ditherv1.ReportRequest
	applied    func(id string, k uint32) // called at each iteration's record; nil: nothing
}

func (c *coordinator) GetFile(r *ditherv1.GetFileRequest, stream ditherv1.CoordinatorService_GetFileServer) error {
	c.mu.Lock()
	data := c.checkpoint
	c.mu.Unlock()
	if data == nil || r.GetKind() != ditherv1.FileKind_FILE_KIND_CHECKPOINT {
		return ditherv1.Fault(codes.NotFound, "no such file", "coordinator", "")
	}
	for from := 0; from < len(data); from += 1000 {
		if err := stream.Send(&ditherv1.GetFileResponse{TotalBytes: uint64(len(data)), Data: data[from:min(from+1000, len(data))]}); err != nil {
			return err
		}
	}
	return nil
}

func (c *coordinator) PutCheckpoint(stream ditherv1.CoordinatorService_PutCheckpointServer) error {
	var head *ditherv1.PutCheckpointRequest
	var data []byte
	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if head == nil {
			head = piece
		}
		data = append(data, piece.GetData()...)
	}
	sum := sha256.Sum256(data)
	if head.GetFileSha256() != hex.EncodeToString(sum[:]) || head.GetTotalBytes() != uint64(len(data)) {
		return ditherv1.Fault(codes.DataLoss, "a checkpoint came in another form than it was announced", "coordinator", "")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checkpoint = data
	return stream.SendAndClose(&ditherv1.PutCheckpointResponse{Path: "checkpoint"})
}

func (c *coordinator) Report(stream ditherv1.CoordinatorService_ReportServer) error {
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.reports = append(c.reports, r)
		c.mu.Unlock()
		if k := r.GetIteration().GetIteration(); k > 0 && c.applied != nil {
			c.applied(r.GetId(), k)
		}
	}
}

// finished are the last words by trainer.
func (c *coordinator) finished() map[string]*ditherv1.Finished {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]*ditherv1.Finished{}
	for _, r := range c.reports {
		if f := r.GetFinished(); f != nil {
			all[r.GetId()] = f
		}
	}
	return all
}

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

// members is a group that has its one generation once all have joined.
type members struct {
	mu      sync.Mutex
	want    int
	teacher string
	joined  []*ditherv1.Member
	whole   chan struct{}
}

func (m *members) Join(_ context.Context, me *ditherv1.Member) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.joined = append(m.joined, me)
	if len(m.joined) == m.want {
		slices.SortFunc(m.joined, func(a, b *ditherv1.Member) int { return strings.Compare(a.GetId(), b.GetId()) })
		for rank, j := range m.joined {
			j = proto.CloneOf(j)
			j.FirstShard, j.EndShard = uint32(runShards*rank/m.want), uint32(runShards*(rank+1)/m.want)
			m.joined[rank] = j
		}
		close(m.whole)
	}
	return nil
}

func (m *members) Generations(ctx context.Context) <-chan *ditherv1.Generation {
	c := make(chan *ditherv1.Generation, 1)
	go func() {
		select {
		case <-m.whole:
			c <- &ditherv1.Generation{Number: 1, Trainers: m.joined, Teachers: []*ditherv1.Member{{Id: "teacher", Role: "teacher", Address: m.teacher}}, Reason: "all are here"}
		case <-ctx.Done():
		}
	}()
	return c
}

func (m *members) Lost() <-chan struct{} { return nil }

func listenOn(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// offer serves until the test ends.
func offer(t *testing.T, register func(*grpc.Server)) (address string) {
	t.Helper()
	l, g := listenOn(t), grpc.NewServer()
	register(g)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	t.Cleanup(func() { g.Stop(); <-done })
	return l.Addr().String()
}

// cluster is what trainers are started in.
type cluster struct {
	coordinator *coordinator
	client      ditherv1.CoordinatorServiceClient
	data        *dataloader.Set
	run         *ditherv1.GetRunResponse
	teacher     string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	data, err := dataloader.Open("digits", "", dataloader.Options{TrainLimit: 48, TestLimit: 11})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{coordinator: &coordinator{}, data: data}
	spec := &ditherv1.RunSpec{
		Dataset: &ditherv1.DatasetSpec{Name: "digits", Classes: uint32(data.Classes), Channels: uint32(data.Channels), Height: uint32(data.Height), Width: uint32(data.Width),
			TrainSha256: data.Train.Hash(), TestSha256: data.Test.Hash(), Validation: 0.2},
		Model: &ditherv1.ModelSpec{Name: "mlp"}, Teacher: &ditherv1.TeacherSpec{Sha256: "0", Arithmetic: "logits"}, Noise: &ditherv1.NoiseSpec{Kind: "none"},
		Loss: &ditherv1.LossSpec{Quadratic: 1, Ce: 0.5}, Optimizer: &ditherv1.OptimizerSpec{Lr: 0.001, Momentum: 0.9, WeightDecay: 1e-4},
		Batch: 8, Shards: runShards, Iterations: runIterations, Seed: 5, Init: &ditherv1.InitSpec{Kind: "random"}, Batchnorm: "shard", Augment: "standard", Arithmetic: "cpu/2"}
	for range data.Channels {
		spec.Dataset.Mean, spec.Dataset.Std = append(spec.Dataset.Mean, 0.4), append(spec.Dataset.Std, 0.3)
	}
	c.run = &ditherv1.GetRunResponse{Run: "digits", Spec: spec, SpecSha256: ditherv1.Hash(spec), Options: &ditherv1.RunOptions{LabelDepth: 2, CheckpointEvery: 4, EvalEvery: 1, GradientNormImages: 7}, Version: "test"}
	c.teacher = offer(t, func(g *grpc.Server) { ditherv1.RegisterTeacherServiceServer(g, labeller{classes: data.Classes}) })
	address := offer(t, func(g *grpc.Server) { ditherv1.RegisterCoordinatorServiceServer(g, c.coordinator) })
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c.client = ditherv1.NewCoordinatorServiceClient(conn)
	return c
}

func (c *cluster) config(t *testing.T, id string, m Membership) Config {
	t.Helper()
	set, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	l := listenOn(t)
	t.Cleanup(func() { l.Close() })
	return Config{ID: id, Version: "test", Run: c.run, Coordinator: c.client, Members: m, Kernels: set, Data: c.data, Listener: l, Advertise: l.Addr().String(), Logger: slog.New(slog.DiscardHandler)}
}

// serve runs n trainers to their ends.
func (c *cluster) serve(t *testing.T, n int, drain <-chan struct{}) []error {
	t.Helper()
	m := &members{want: n, teacher: c.teacher, whole: make(chan struct{})}
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		config := c.config(t, fmt.Sprintf("trainer-%d", i), m)
		all.Go(func() { errs[i] = Serve(t.Context(), config, drain) })
	}
	all.Wait()
	return errs
}

// sha256Of is the parameters hash on which all n trainers agree.
func (c *cluster) sha256Of(t *testing.T, n int, iteration uint32) string {
	t.Helper()
	last := c.coordinator.finished()
	if len(last) != n {
		t.Fatalf("%d of %d trainers said a last word", len(last), n)
	}
	sum := last["trainer-0"].GetParametersSha256()
	for id, f := range last {
		if f.GetParametersSha256() != sum || len(sum) != 64 || f.GetIteration() != iteration {
			t.Fatalf("%s ends after iteration %d with %q, trainer-0 with %q", id, f.GetIteration(), f.GetParametersSha256(), sum)
		}
	}
	return sum
}

func TestAnyNumberOfTrainersEndsWithTheSameBits(t *testing.T) {
	var want string
	var evaluations map[string]string
	for n := 1; n <= 3; n++ {
		c := newCluster(t)
		for i, err := range c.serve(t, n, nil) {
			if err != nil {
				t.Fatalf("trainer %d of %d: %v", i, n, err)
			}
		}
		got := c.sha256Of(t, n, runIterations)
		shards := map[uint32]map[uint32]string{} // label digests by iteration and shard
		losses := map[uint32]float64{}
		parts := map[string][]*ditherv1.Part{}
		for _, r := range c.coordinator.reports {
			if p := r.GetPart(); p != nil {
				key := fmt.Sprintf("%v after %d", p.GetKind(), p.GetIteration())
				parts[key] = append(parts[key], p)
			}
			it := r.GetIteration()
			if it == nil {
				continue
			}
			k := it.GetIteration()
			if shards[k] == nil {
				shards[k], losses[k] = map[uint32]string{}, it.GetLoss()
			}
			if losses[k] != it.GetLoss() {
				t.Errorf("iteration %d has the losses %v and %v", k, losses[k], it.GetLoss())
			}
			for s := it.GetFirstShard(); s < it.GetEndShard(); s++ {
				if shards[k][s] != "" {
					t.Errorf("%d trainers: two computed shard %d of iteration %d", n, s, k)
				}
				shards[k][s] = it.GetLabelDigests()[s-it.GetFirstShard()]
			}
		}
		for k := uint32(1); k <= runIterations; k++ {
			if len(shards[k]) != runShards {
				t.Errorf("%d trainers: %d of %d shards of iteration %d were reported", n, len(shards[k]), runShards, k)
			}
		}
		results := map[string]string{}
		for key, ps := range parts {
			slices.SortFunc(ps, func(a, b *ditherv1.Part) int { return int(a.GetFirst()) - int(b.GetFirst()) })
			var values []byte
			for _, p := range ps {
				values = append(values, p.GetValues().GetData()...)
			}
			results[key] = fmt.Sprintf("%d: %x", ps[0].GetTotal(), sha256.Sum256(values))
		}
		if n == 1 {
			want, evaluations = got, results
			if len(results) != 5 { // test and validation after an epoch of 4 and at the end, and the gradient norm
				t.Errorf("the evaluations are %v", results)
			}
			continue
		}
		if got != want {
			t.Errorf("%d trainers end with %s, one with %s", n, got, want)
		}
		for key, v := range evaluations {
			if results[key] != v {
				t.Errorf("%d trainers evaluate %s to %s, one to %s", n, key, results[key], v)
			}
		}
	}
}

func TestADrainedRunGoesOnToTheSameBits(t *testing.T) {
	whole := newCluster(t)
	if err := errors.Join(whole.serve(t, 1, nil)...); err != nil {
		t.Fatal(err)
	}
	want := whole.sha256Of(t, 1, runIterations)

	c := newCluster(t)
	drain := make(chan struct{})
	var once sync.Once
	held := make(chan struct{})
	c.coordinator.applied = func(string, uint32) { once.Do(func() { close(drain); close(held) }) }
	for _, err := range c.serve(t, 2, drain) {
		if !errors.Is(err, ErrStopped) {
			t.Fatalf("a drained trainer ends with %v", err)
		}
	}
	<-held
	last := c.coordinator.finished()
	k := last["trainer-0"].GetIteration()
	if k == 0 || k >= runIterations || !last["trainer-0"].GetStopped() || last["trainer-1"].GetIteration() != k {
		t.Fatalf("the drained trainers said %v", last)
	}
	saved, err := checkpoint.Decode(c.coordinator.checkpoint)
	if err != nil || saved.Meta.Iteration != k || Hex(saved.Hash()) != last["trainer-0"].GetParametersSha256() {
		t.Fatalf("the checkpoint is after iteration %d, not %d (%v)", saved.Meta.Iteration, k, err)
	}
	c.coordinator.reports, c.coordinator.applied = nil, nil
	if err := errors.Join(c.serve(t, 3, nil)...); err != nil {
		t.Fatal(err)
	}
	if got := c.sha256Of(t, 3, runIterations); got != want {
		t.Errorf("stopped after %d and resumed, the run ends with %s; in one go with %s", k, got, want)
	}
	// A whole run served again has nothing left to do, and says so.
	c.coordinator.reports = nil
	if err := errors.Join(c.serve(t, 1, nil)...); err != nil || c.sha256Of(t, 1, runIterations) != want {
		t.Errorf("a run that is over ends with %v when served again", err)
	}
}

func TestStopAfter(t *testing.T) {
	c := newCluster(t)
	c.run.Options.StopAfter = 3
	for _, err := range c.serve(t, 2, nil) {
		if !errors.Is(err, ErrStopped) {
			t.Errorf("a run to be stopped ends with %v", err)
		}
	}
	c.sha256Of(t, 2, 3)
}

func TestDivergenceIsSaidByAll(t *testing.T) {
	c := newCluster(t)
	c.run.Spec.Optimizer.Lr = 1e30
	c.run.SpecSha256 = ditherv1.Hash(c.run.Spec)
	for _, err := range c.serve(t, 2, nil) {
		if !errors.Is(err, ErrDiverged) {
			t.Errorf("a diverging trainer ends with %v", err)
		}
	}
	failures := 0
	for _, r := range c.coordinator.reports {
		if f := r.GetFailure(); f != nil && f.GetDeterministic() && strings.Contains(f.GetMessage(), "--lr") {
			failures++
		}
	}
	if failures != 2 {
		t.Errorf("%d of 2 trainers reported that the run diverges", failures)
	}
}

func TestWhatIsNotTheRunsIsRefused(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(*Config)
		says  string
	}{
		"spec": {func(c *Config) { c.Run.SpecSha256 = strings.Repeat("a", 64) }, "aaaaaaaaaaaa"},
		"arithmetic": {func(c *Config) {
			c.Run.Spec.Arithmetic = "cuda/1"
			c.Run.SpecSha256 = ditherv1.Hash(c.Run.Spec)
		}, "computes in cpu/2; choose another with --kernels"},
		"training images": {func(c *Config) {
			d := *c.Data
			d.Train.Labels = slices.Clone(d.Train.Labels)
			d.Train.Labels[0] = 9 - d.Train.Labels[0]
			c.Data = &d
		}, "training images here are not the run's"},
		"test images": {func(c *Config) {
			d := *c.Data
			d.Test.Pixels = slices.Clone(d.Test.Pixels)
			d.Test.Pixels[0]++
			c.Data = &d
		}, "test images here are not the run's"},
	} {
		cl := newCluster(t)
		config := cl.config(t, "trainer-0", &members{want: 1, teacher: cl.teacher, whole: make(chan struct{})})
		c.spoil(&config)
		if err := Serve(t.Context(), config, nil); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("another %s: %v", what, err)
		}
		if len(cl.coordinator.reports) > 0 {
			t.Errorf("another %s: reported %v", what, cl.coordinator.reports)
		}
	}
}

func TestStateIsFetchedBetweenIterations(t *testing.T) {
	c := newCluster(t)
	m := &members{want: 1, teacher: c.teacher, whole: make(chan struct{})}
	config := c.config(t, "trainer-0", m)
	conn, err := grpc.NewClient(config.Advertise, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fetch := func(at *ditherv1.Position) (data []byte, iteration uint32, err error) {
		stream, err := ditherv1.NewTrainerServiceClient(conn).FetchState(t.Context(), &ditherv1.FetchStateRequest{Position: at})
		if err != nil {
			return nil, 0, err
		}
		for {
			piece, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return data, iteration, nil
			}
			if err != nil {
				return nil, 0, err
			}
			data, iteration = append(data, piece.GetData()...), piece.GetIteration()
		}
	}
	type state struct {
		data      []byte
		iteration uint32
		err       error
	}
	got := make(chan state, 1)
	c.run.Spec.Iterations = 5000 // until it is drained
	c.run.SpecSha256 = ditherv1.Hash(c.run.Spec)
	c.run.Options = &ditherv1.RunOptions{}
	var once sync.Once
	drain := make(chan struct{})
	c.coordinator.applied = func(string, uint32) {
		once.Do(func() {
			go func() {
				defer close(drain)
				var s state
				s.data, s.iteration, s.err = fetch(&ditherv1.Position{Run: c.run.Run, SpecSha256: c.run.SpecSha256})
				if _, _, err := fetch(&ditherv1.Position{Run: "other", SpecSha256: c.run.SpecSha256}); err == nil || !strings.Contains(ditherv1.Message(err), "run other") {
					s.err = fmt.Errorf("another run's state was asked for, and the answer is %v", err)
				}
				got <- s
			}()
		})
	}
	if err := Serve(t.Context(), config, drain); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	s := <-got
	if s.err != nil {
		t.Fatal(s.err)
	}
	saved, err := checkpoint.Decode(s.data)
	if err != nil || saved.Meta.Iteration != s.iteration || s.iteration == 0 || len(saved.Momentum) == 0 {
		t.Errorf("the state fetched is after iteration %d (%v)", s.iteration, err)
	}
}
