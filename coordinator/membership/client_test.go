package membership

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func startEtcd(t *testing.T) *Embedded {
	t.Helper()
	e, err := Embed(filepath.Join(t.TempDir(), "etcd"), EmbedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func TestClient(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	contract(t, backend{
		open: func(t *testing.T, run string) Registry {
			c, err := Connect(t.Context(), e.Endpoints(), run)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
			return c
		},
		// Revoking is to a lease what its time being up is, and takes no time.
		expire: func(t *testing.T, run, name string) {
			c, err := Connect(t.Context(), e.Endpoints(), run)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			got, err := c.etcd.Get(t.Context(), c.root, clientv3.WithPrefix())
			if err != nil {
				t.Fatal(err)
			}
			ended := false
			for _, kv := range got.Kvs {
				if kv.Lease != 0 && (strings.HasSuffix(string(kv.Key), "/"+name) || string(kv.Value) == name) {
					if _, err := c.etcd.Revoke(t.Context(), clientv3.LeaseID(kv.Lease)); err != nil {
						t.Fatal(err)
					}
					ended = true
				}
			}
			if !ended {
				t.Fatalf("%q holds no lease in run %q", name, run)
			}
		},
	})
}

func TestAnEtcdThatIsNotThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Connect(ctx, []string{address}, "r"); err == nil || !strings.Contains(err.Error(), address) {
		t.Errorf("Connect to nobody: %v", err)
	}
	if _, err := Connect(t.Context(), []string{address}, "a/b"); err == nil || !strings.Contains(err.Error(), `run "a/b"`) {
		t.Errorf("Connect for a run of that name: %v", err)
	}
}

// A listener that takes connections and never answers must not be waited for either.
func TestAnEtcdThatIsSilent(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if _, err := Connect(t.Context(), []string{l.Addr().String()}, "r"); err == nil || !strings.Contains(err.Error(), "no answer within 5s") || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("Connect to somebody silent: %v", err)
	}
}

func TestAnEmbeddedEtcdLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "etcd")
	for range 2 {
		began := time.Now()
		e, err := Embed(dir, EmbedOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("started in %v", time.Since(began))
		if host, _, err := net.SplitHostPort(e.Endpoints()[0]); err != nil || host != "127.0.0.1" {
			t.Errorf("endpoints %v", e.Endpoints())
		}
		c, err := Connect(t.Context(), e.Endpoints(), "r")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "member")); err != nil {
			t.Error(err)
		}
		if who, err := c.Leader(t.Context()); who != "" || err != nil {
			t.Errorf("a fresh etcd has leader %q, %v", who, err)
		}
		if _, err := c.Campaign(t.Context(), "one", ttl); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("its folder is still there: %v", err)
		}
	}
}

// An etcd that ends does not wait for its clients, and its clients do not wait for it.
func TestAnEtcdThatEnds(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	c, err := Connect(t.Context(), e.Endpoints(), "r")
	if err != nil {
		t.Fatal(err)
	}
	lease, err := c.Join(t.Context(), &ditherv1.Member{Id: "x", Role: "trainer"}, ttl)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	watch := c.WatchMembers(ctx)
	until(t, "x", watch, having("trainer/x"))
	began := time.Now()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 4*time.Second { // a few ms; 6 s where it waits for the watch
		t.Errorf("it took %v to end", took)
	}
	if err := lease.Leave(t.Context()); err == nil || !strings.Contains(err.Error(), `leaving run "r"`) {
		t.Errorf("leaving an etcd that is gone: %v", err)
	}
	closed(t, "Lost of the lease that was left", lease.Lost())
	cancel()
	for range watch {
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
