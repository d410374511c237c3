package coordinator

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dither-ml/dither/coordinator/membership"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// The real thing on loopback: an embedded etcd, a port, a trainer that finds both.
func TestStart(t *testing.T) {
	config := configFor(t.TempDir(), 1)
	config.Listen, config.Advertise = "127.0.0.1:0", ""
	c, err := Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(config.Dir, "etcd")); !os.IsNotExist(err) {
			t.Errorf("its etcd is still there: %v", err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	client, conn, err := Dial(ctx, c.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	run, err := client.GetRun(ctx, &ditherv1.GetRunRequest{})
	if err != nil {
		t.Fatal(err)
	}
	etcd, err := membership.Connect(ctx, run.GetEtcd(), run.GetRun())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = etcd.Close() }()
	stream, err := client.Report(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Hello{Hello: &ditherv1.Hello{Member: trainer("a")}}}); err != nil {
		t.Fatal(err)
	}
	lease, err := etcd.Join(ctx, trainer("a"), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if g := <-etcd.WatchGeneration(ctx); g.GetNumber() != 1 || g.GetTrainers()[0].GetEndShard() != 4 || g.GetReason() != "1 trainer owns 4 shards" {
		t.Errorf("generation %v", g)
	}
	c.Stop("that will do")
	if m, err := stream.Recv(); err != nil || m.GetStop() {
		t.Errorf("the answer to the hello: %v, %v", m, err)
	}
	if m, err := stream.Recv(); err != nil || !m.GetStop() {
		t.Errorf("%v, %v", m, err)
	}
	if err := stream.Send(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Beat{Beat: &ditherv1.Beat{Generation: 1}}}); err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&ditherv1.ReportRequest{Id: "a", Record: &ditherv1.ReportRequest_Finished{Finished: &ditherv1.Finished{ParametersSha256: paramsA, Stopped: true}}}); err != nil {
		t.Fatal(err)
	}
	r, err := c.Wait(ctx)
	if err != nil || r.GetPhase() != "stopped" || r.GetReason() != "stopped after iteration 0 of 20: that will do" || r.GetGenerations() != 1 {
		t.Errorf("%v, %v", r, err)
	}
	if m, err := stream.Recv(); err != nil || !m.GetOver() {
		t.Errorf("%v, %v", m, err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
	if err := lease.Leave(ctx); err != nil {
		t.Error(err)
	}
}

func TestAPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	config := configFor(t.TempDir(), 1)
	config.Listen = l.Addr().String()
	_, err = Start(t.Context(), config)
	if want := fmt.Sprintf("cannot listen on %s: address already in use; choose another with --listen", config.Listen); err == nil || err.Error() != want {
		t.Errorf("%v, not %s", err, want)
	}
	config.Listen = "nowhere"
	if _, err = Start(t.Context(), config); err == nil || !strings.Contains(err.Error(), "give HOST:PORT with --listen") {
		t.Errorf("%v", err)
	}
}

func TestAnAddressNobodyCanUse(t *testing.T) {
	config := configFor(t.TempDir(), 1)
	config.Listen = "0.0.0.0:0"
	if _, err := Start(t.Context(), config); err == nil || !strings.Contains(err.Error(), "--advertise HOST:PORT") {
		t.Errorf("%v", err)
	}
	config.Advertise = "nowhere"
	if _, err := Start(t.Context(), config); err == nil || !strings.Contains(err.Error(), "--advertise nowhere") {
		t.Errorf("%v", err)
	}
}

func TestAnEtcdThatDoesNotAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	config := configFor(t.TempDir(), 1)
	config.Listen, config.Etcd = "127.0.0.1:0", []string{address}
	if _, err := Start(ctx, config); err == nil || !strings.Contains(err.Error(), address) {
		t.Errorf("%v", err)
	}
}
