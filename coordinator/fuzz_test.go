package coordinator

import (
	"context"
	"io"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dither-ml/dither/coordinator/membership"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// alone is a coordinator without a port.
func alone(f testing.TB) *Coordinator {
	f.Helper()
	config := configFor(f.TempDir(), 1)
	config.Registry = membership.NewFake().Run("r")
	c, err := Start(context.Background(), config)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := c.Close(); err != nil {
			f.Error(err)
		}
	})
	return c
}

func wire(f testing.TB, m proto.Message) []byte {
	f.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// Whatever comes on a report stream after a hello, or in its place, is refused, fails the run in words, or is taken: the coordinator lives.
func FuzzReport(f *testing.F) {
	c := alone(f)
	say := func(m *ditherv1.ReportRequest) { f.Add(wire(f, m)) }
	f.Add([]byte("\x0a\x01a"))
	say(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Hello{}})
	say(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Hello{Hello: &ditherv1.Hello{Member: trainer("a")}}})
	say(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Beat{}})
	say(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Beat{Beat: &ditherv1.Beat{Iteration: 1 << 31, HasState: true, Loss: 1}}})
	say(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Iteration{}})
	say(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Iteration{Iteration: &ditherv1.IterationRecord{Iteration: 1, LabelDigests: digests(1), ShardSeconds: make([]float32, 4)}}})
	say(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Iteration{Iteration: &ditherv1.IterationRecord{Iteration: 20, FirstShard: 1 << 31}}})
	say(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Part{}})
	say(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Part{Part: &ditherv1.Part{Kind: 1, First: 1<<32 - 1, Total: 1<<32 - 1, Values: ditherv1.Float64Tensor([]float64{1, 2}, 1, 2)}}})
	say(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Part{Part: &ditherv1.Part{Kind: 3, Total: 2, Values: ditherv1.Float64Tensor([]float64{1}, 1)}}})
	say(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Finished{}})
	say(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Failure{}})
	say(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Aborted{}})
	say(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Aborted{Aborted: &ditherv1.Aborted{Iteration: 1, FirstShard: 1<<32 - 1, Lost: []string{"a", ""}, LabelDigests: digests(1)}}})
	say(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Leaving{}})
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &ditherv1.ReportRequest{}
		if proto.Unmarshal(data, m) != nil {
			return
		}
		for _, greet := range []bool{true, false} {
			s := c.Attach()
			if greet {
				_ = s.Receive(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Hello{Hello: &ditherv1.Hello{Member: trainer("a")}}})
			}
			for range 2 {
				_ = s.Receive(proto.CloneOf(m))
			}
			s.Detach("enough")
			for range s.Orders() {
			}
		}
		wellAfter(t, c)
	})
}

// wellAfter looks whether a coordinator still answers, and keeps nothing of those who left.
func wellAfter(t *testing.T, c *Coordinator) {
	t.Helper()
	term, why := c.current()
	if term == nil {
		t.Fatal(why)
	}
	term.mu.Lock()
	defer term.mu.Unlock()
	term.forget(time.Now())
	if term.status().GetRun() != "r" || len(term.sessions) != 0 || len(term.peers) != 0 || len(term.complaints) > mostComplaints || len(term.failures) > 1 {
		t.Errorf("%d sessions, %d trainers, %d complaints", len(term.sessions), len(term.peers), len(term.complaints))
	}
}

// Whatever comes as a checkpoint is refused, or is one.
func FuzzPutCheckpoint(f *testing.F) {
	c := alone(f)
	good := &ditherv1.PutCheckpointRequest{Iteration: 1, SpecSha256: specHash, FileSha256: sha([]byte("one")), TotalBytes: 3, Data: []byte("one")}
	f.Add(wire(f, good), []byte(nil))
	huge := proto.CloneOf(good)
	huge.TotalBytes = 1 << 63
	f.Add(wire(f, huge), []byte("more"))
	f.Add(wire(f, &ditherv1.PutCheckpointRequest{}), wire(f, good))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		head, more := &ditherv1.PutCheckpointRequest{}, &ditherv1.PutCheckpointRequest{}
		if proto.Unmarshal(first, head) != nil || proto.Unmarshal(second, more) != nil {
			return
		}
		pieces := []*ditherv1.PutCheckpointRequest{more}
		term, _ := c.current()
		_, err := term.putCheckpoint(head, func() (*ditherv1.PutCheckpointRequest, error) {
			if len(pieces) == 0 {
				return nil, io.EOF
			}
			m := pieces[0]
			pieces = nil
			return m, nil
		})
		if data := append(append([]byte(nil), head.GetData()...), more.GetData()...); err == nil && sha(data) != head.GetFileSha256() {
			t.Errorf("%d bytes of another hash were taken", len(data))
		}
		wellAfter(t, c)
	})
}
