package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/dither-ml/dither/coordinator/membership"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	batch      = 8
	iterations = 20
	specHash   = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	paramsA    = "aa112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	paramsB    = "bb112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
)

// configFor is a run of 4 shards and 20 iterations. Nobody is taken for silent in it: where time is to be looked at, a test is in a bubble.
func configFor(dir string, trainers int) Config {
	return Config{Run: "r", Dir: dir, SpecSHA256: specHash, Start: trainers, Version: "v1", LeaseTTL: 10 * time.Second, Silence: time.Hour,
		Spec: &ditherv1.RunSpec{Batch: batch, Shards: 4, Iterations: iterations, Arithmetic: "cpu/2",
			Dataset: &ditherv1.DatasetSpec{TrainSha256: "train", TestSha256: "test"}},
		Options: &ditherv1.RunOptions{}, Files: map[ditherv1.FileKind]string{}}
}

// cluster is a coordinator on a connection in memory and an etcd in memory.
type cluster struct {
	t      *testing.T
	ctx    context.Context
	etcd   *membership.Fake
	wire   *bufconn.Listener
	c      *Coordinator
	client ditherv1.CoordinatorServiceClient
}

// launch begins a coordinator; in a synctest bubble the context must be the bubble's.
func launch(t *testing.T, config Config, etcd *membership.Fake) (*cluster, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
	t.Cleanup(cancel)
	w := &cluster{t: t, ctx: ctx, etcd: etcd, wire: bufconn.Listen(1 << 16)}
	config.Registry = etcd.Run(config.Run)
	w.c = &Coordinator{config: config, listener: w.wire, registry: config.Registry}
	if err := w.c.start(ctx); err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := w.c.Close(); err != nil {
			t.Errorf("closing the coordinator: %v", err)
		}
	})
	w.client, _ = w.dial()
	return w, nil
}

func start(t *testing.T, config Config) *cluster {
	t.Helper()
	w, err := launch(t, config, membership.NewFake())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// term is that of a coordinator that leads.
func (w *cluster) term() *term {
	w.t.Helper()
	t, why := w.c.current()
	if t == nil {
		w.t.Fatal(why)
	}
	return t
}

// dial is another process's connection.
func (w *cluster) dial() (ditherv1.CoordinatorServiceClient, io.Closer) {
	conn, err := grpc.NewClient("passthrough:///memory", append(dialOptions(), grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return w.wire.DialContext(ctx) }))...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return ditherv1.NewCoordinatorServiceClient(conn), conn
}

// result waits for the end.
func (w *cluster) result() *ditherv1.RunResult {
	w.t.Helper()
	r, err := w.c.Wait(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// ends waits for the end and holds it against a phase and a reason that contains all of the words.
func (w *cluster) ends(phase string, words ...string) *ditherv1.RunResult {
	w.t.Helper()
	r := w.result()
	if r.GetPhase() != phase {
		w.t.Errorf("the run ended %s (%s), not %s", r.GetPhase(), r.GetReason(), phase)
	}
	for _, word := range words {
		if !strings.Contains(r.GetReason(), word) {
			w.t.Errorf("the reason is %q, without %q", r.GetReason(), word)
		}
	}
	return r
}

func (w *cluster) teacher(id string) *membership.Lease {
	w.t.Helper()
	l, err := w.etcd.Run("r").Join(w.ctx, &ditherv1.Member{Id: id, Role: "teacher", Version: "v1", Arithmetic: "cpu/2", Process: "host:0"}, 10*time.Second)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// fakeTrainer speaks as a trainer does, without computing anything.
type fakeTrainer struct {
	w      *cluster
	id     string
	member *ditherv1.Member
	client ditherv1.CoordinatorServiceClient
	conn   io.Closer
	lease  *membership.Lease
	have   uint32 // the answer to its hello

	mu     sync.Mutex // over stream's Send, and at
	stream grpc.BidiStreamingClient[ditherv1.ReportRequest, ditherv1.ReportResponse]
	at     *ditherv1.Beat
	me     *ditherv1.Member // in the generation
	rank   int
}

func trainer(id string) *ditherv1.Member {
	return &ditherv1.Member{Id: id, Role: "trainer", Version: "v1", Arithmetic: "cpu/2", KernelSet: "generic", Process: "host:" + id, SpecSha256: specHash, TrainSha256: "train", TestSha256: "test"}
}

func (w *cluster) join(id string) *fakeTrainer {
	w.t.Helper()
	return w.joinAs(trainer(id))
}

func (w *cluster) joinAs(m *ditherv1.Member) *fakeTrainer {
	w.t.Helper()
	f := &fakeTrainer{w: w, id: m.GetId(), member: m, at: &ditherv1.Beat{}}
	f.call(w)
	var err error
	if f.lease, err = w.etcd.Run("r").Join(w.ctx, m, 10*time.Second); err != nil {
		w.t.Fatal(err)
	}
	return f
}

// call opens a report stream to the coordinator of w, and reads the answer to the hello.
func (f *fakeTrainer) call(w *cluster) {
	f.w.t.Helper()
	f.hello(w)
	m, err := f.stream.Recv()
	if err != nil {
		f.w.t.Fatalf("%s calls: %v", f.id, err)
	}
	f.have = m.GetHave()
}

func (f *fakeTrainer) hello(w *cluster) {
	f.w.t.Helper()
	f.w = w
	f.client, f.conn = w.dial()
	stream, err := f.client.Report(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	f.mu.Lock()
	f.stream = stream
	at := proto.CloneOf(f.at)
	f.mu.Unlock()
	f.send(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Hello{Hello: &ditherv1.Hello{Member: f.member, Beat: at}}})
}

func (f *fakeTrainer) send(m *ditherv1.ReportRequest) {
	f.w.t.Helper()
	if err := f.say(m); err != nil {
		f.w.t.Fatalf("%s: %v", f.id, err)
	}
}

func (f *fakeTrainer) say(m *ditherv1.ReportRequest) error {
	m.Id, m.KernelSet = f.id, "generic"
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stream.Send(m)
}

// beat says where it stands.
func (f *fakeTrainer) beat(change func(*ditherv1.Beat)) {
	f.mu.Lock()
	if change != nil {
		change(f.at)
	}
	at := proto.CloneOf(f.at)
	f.mu.Unlock()
	_ = f.say(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Beat{Beat: at}}) // a stream that is broken shows elsewhere
}

// beats keeps saying where it stands, until the context ends.
func (f *fakeTrainer) beats(ctx context.Context) {
	go func() {
		for tick := time.NewTicker(500 * time.Millisecond); ; {
			select {
			case <-tick.C:
				f.beat(nil)
			case <-ctx.Done():
				tick.Stop()
				return
			}
		}
	}()
}

// begin waits for a generation that it is in, which it gives, and takes its place there.
func (f *fakeTrainer) begin() *fakeTrainer {
	f.w.t.Helper()
	f.enters(1)
	return f
}

// enters waits for a generation of at least that number that it is in.
func (f *fakeTrainer) enters(number uint64) *ditherv1.Generation {
	f.w.t.Helper()
	ctx, cancel := context.WithTimeout(f.w.ctx, time.Hour)
	defer cancel()
	for g := range f.w.etcd.Run("r").WatchGeneration(ctx) {
		if g.GetNumber() < number {
			continue
		}
		for rank, m := range g.GetTrainers() {
			if m.GetId() == f.id {
				f.me, f.rank = m, rank
				f.beat(func(at *ditherv1.Beat) { at.Generation = g.GetNumber() })
				return g
			}
		}
	}
	f.w.t.Fatalf("%s is in no generation from %d on", f.id, number)
	return nil
}

// applied says that iterations up to k are.
func (f *fakeTrainer) applied(k uint32) {
	f.w.t.Helper()
	f.beat(func(at *ditherv1.Beat) { at.Iteration, at.HasState, at.Loss = k, true, 1/float64(k) })
}

// record is what a trainer reports of iteration k, in agreement with the others.
func (f *fakeTrainer) record(k uint32) *ditherv1.IterationRecord {
	r := &ditherv1.IterationRecord{Iteration: k, Loss: 1 / float64(k), Correct: k % batch, Lr: 0.1, Seconds: 1, FirstShard: f.me.GetFirstShard(), EndShard: f.me.GetEndShard(),
		Generation: f.at.GetGeneration(), LabelDigests: digests(k), ShardSeconds: []float32{1, 1, 1, 1}}
	return r
}

// digests are those of the labels of iteration k.
func digests(k uint32) (out []string) {
	for s := range 4 {
		out = append(out, fmt.Sprintf("%08x%08x", k, s))
	}
	return out
}

// train reports iterations, in order, as the trainer of the first shard does.
func (f *fakeTrainer) train(from, to uint32) {
	f.w.t.Helper()
	for k := from; k <= to; k++ {
		f.apply(f.record(k))
	}
	f.applied(to)
}

func (f *fakeTrainer) abort(generation uint64, k uint32, labels []string, lost ...string) {
	f.w.t.Helper()
	f.send(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Aborted{Aborted: &ditherv1.Aborted{Generation: generation, Iteration: k, Lost: lost, Reason: "the stream broke",
		FirstShard: f.me.GetFirstShard(), LabelDigests: labels}}})
}

func (f *fakeTrainer) apply(r *ditherv1.IterationRecord) {
	f.w.t.Helper()
	f.send(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Iteration{Iteration: r}})
}

func (f *fakeTrainer) part(kind ditherv1.PartKind, k, first, total uint32, values ...float64) {
	f.w.t.Helper()
	shape := []int64{int64(len(values))}
	if kind != ditherv1.PartKind_PART_KIND_GRADIENT_NORM {
		shape = []int64{int64(len(values) / 2), 2}
	}
	f.send(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Part{Part: &ditherv1.Part{Kind: kind, Iteration: k, First: first, Total: total, Values: ditherv1.Float64Tensor(values, shape...)}}})
}

func (f *fakeTrainer) finish(k uint32, parameters string, stopped bool) {
	f.w.t.Helper()
	f.send(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Finished{Finished: &ditherv1.Finished{Iteration: k, ParametersSha256: parameters, Stopped: stopped}}})
}

func (f *fakeTrainer) fail(k uint32, message string, deterministic bool) {
	f.w.t.Helper()
	f.send(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Failure{Failure: &ditherv1.Failure{Message: message, Iteration: k, Deterministic: deterministic}}})
}

// over waits for the word that the run is over, or goes on without it.
func (f *fakeTrainer) over() *ditherv1.ReportResponse {
	f.w.t.Helper()
	for {
		m, err := f.stream.Recv()
		if err != nil {
			f.w.t.Fatalf("%s got %v where it was to be told that it is over", f.id, err)
		}
		if m.GetOver() {
			return m
		}
	}
}

// ordered waits for the order to stop.
func (f *fakeTrainer) ordered() string {
	f.w.t.Helper()
	m, err := f.stream.Recv()
	if err != nil || !m.GetStop() {
		f.w.t.Fatalf("%s got %v, %v where an order to stop was due", f.id, m, err)
	}
	return m.GetReason()
}

// part of the way, and a checkpoint as rank 0 sends it.
func (f *fakeTrainer) put(k uint32, data []byte, change func(*ditherv1.PutCheckpointRequest)) (string, error) {
	return put(f.w.ctx, f.client, k, data, change)
}

func put(ctx context.Context, client ditherv1.CoordinatorServiceClient, k uint32, data []byte, change func(*ditherv1.PutCheckpointRequest)) (string, error) {
	stream, err := client.PutCheckpoint(ctx)
	if err != nil {
		return "", err
	}
	m := &ditherv1.PutCheckpointRequest{Iteration: k, SpecSha256: specHash, FileSha256: sha(data), TotalBytes: uint64(len(data))}
	if change != nil {
		change(m)
	}
	for len(data) > 0 {
		n := min(len(data), 1000)
		m.Data = data[:n]
		if stream.Send(m) != nil {
			break // CloseAndRecv says why
		}
		data, m = data[n:], &ditherv1.PutCheckpointRequest{}
	}
	answer, err := stream.CloseAndRecv()
	return answer.GetPath(), err
}

// bye waits to be told that it is over, ends the stream in order, and leaves.
func (f *fakeTrainer) bye() {
	f.w.t.Helper()
	f.over()
	f.hangUp()
}

// hangUp ends the stream in order and waits until the coordinator has taken everything.
func (f *fakeTrainer) hangUp() {
	f.w.t.Helper()
	if err := f.stream.CloseSend(); err != nil {
		f.w.t.Fatal(err)
	}
	for {
		if _, err := f.stream.Recv(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			f.w.t.Fatalf("%s: %v", f.id, err)
		}
	}
	if err := f.lease.Leave(f.w.ctx); err != nil {
		f.w.t.Fatal(err)
	}
}

// dies is killed: its connection breaks and its lease ends.
func (f *fakeTrainer) dies() {
	f.w.t.Helper()
	if err := f.conn.Close(); err != nil {
		f.w.t.Fatal(err)
	}
	f.w.etcd.Expire("r", f.id)
}

// waits returns when the coordinator has said that it waits for somebody: if all were there at its first look, it would never say so.
func (w *cluster) waits() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	stream, err := w.client.Watch(ctx, &ditherv1.WatchRequest{FromStart: true})
	for err == nil {
		var e *ditherv1.WatchResponse
		if e, err = stream.Recv(); e.GetStatus().GetPhase() == "waiting" {
			return
		}
	}
	w.t.Fatal(err)
}

// watch collects events until the run's result.
func (w *cluster) watch(fromStart bool) <-chan []*ditherv1.WatchResponse {
	w.t.Helper()
	stream, err := w.client.Watch(w.ctx, &ditherv1.WatchRequest{FromStart: fromStart})
	if err != nil {
		w.t.Fatal(err)
	}
	out := make(chan []*ditherv1.WatchResponse, 1)
	go func() {
		var events []*ditherv1.WatchResponse
		for {
			e, err := stream.Recv()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					w.t.Errorf("watching: %v", err)
				}
				out <- events
				return
			}
			events = append(events, e)
		}
	}()
	return out
}

// refused holds an error against a code, words of its sentence, and its details.
func refused(t *testing.T, err error, code codes.Code, words ...string) {
	t.Helper()
	st := status.Convert(err)
	if st.Code() != code {
		t.Fatalf("%v, not %v: %v", st.Code(), code, err)
	}
	for _, word := range words {
		if !strings.Contains(st.Message(), word) {
			t.Errorf("the error is %q, without %q", st.Message(), word)
		}
	}
	if len(st.Details()) != 1 {
		t.Errorf("the error has %d details: %v", len(st.Details()), st.Details())
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// eventually asks for the status until it is as wanted; each answer comes after what the coordinator took before.
func eventually(t *testing.T, w *cluster, ok func(*ditherv1.StatusResponse) bool) *ditherv1.StatusResponse {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		s, err := w.client.Status(w.ctx, &ditherv1.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("the status stays %v", s)
		}
	}
}

func (w *cluster) dialConn() (*grpc.ClientConn, func()) {
	_, closer := w.dial()
	conn := closer.(*grpc.ClientConn)
	return conn, func() { _ = conn.Close() }
}
