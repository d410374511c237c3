package membership

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"google.golang.org/grpc"
)

const embedTimeout = 20 * time.Second // for a start; usually well below one

// EmbedOptions says where an embedded etcd listens.
type EmbedOptions struct {
	// Host is the address to listen on; empty: 127.0.0.1. This etcd asks nobody for a password: another address than a loopback one belongs in a network of one's own.
	Host string
	// Advertise is the host under which others reach it; empty: Host.
	Advertise string
}

// Embedded is an etcd in this process.
type Embedded struct {
	dir       string
	server    *embed.Etcd
	endpoints []string
	hangUp    context.CancelFunc // ends the clients' streams
	close     sync.Once
}

// smallLog keeps etcd's preallocated files from taking 128 MB of a run's folder for a few hundred keys.
var smallLog = sync.OnceFunc(func() { wal.SegmentSizeBytes = 1 << 20 })

// Embed starts an etcd of one member in this process, on free ports, its data under dir. It lives and dies with the process and so do those
// whom it serves: it begins empty (what an earlier one left in dir is removed), does not sync its files to disk, and takes them away on Close.
// What etcd has to say for itself (warnings and worse) goes to etcd.log in dir, which is there until Close.
func Embed(dir string, o EmbedOptions) (*Embedded, error) {
	smallLog()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("starting etcd: %w", err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "member")); err != nil {
		return nil, fmt.Errorf("starting etcd: clearing its folder: %w", err)
	}
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if o.Advertise == "" {
		o.Advertise = o.Host
	}
	listen := url.URL{Scheme: "http", Host: net.JoinHostPort(o.Host, "0")}
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}

	cfg := embed.NewConfig()
	cfg.Name = "dither"
	cfg.Dir = dir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{listen}, []url.URL{listen}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.UnsafeNoFsync = true
	cfg.TickMs, cfg.ElectionMs = 100, 500 // alone, it elects itself after one election timeout
	cfg.LogLevel = "warn"
	cfg.LogOutputs = []string{filepath.Join(dir, "etcd.log")}

	// Its clients watch for as long as they live, and etcd would wait 6 s for them to leave before it ends.
	open, hangUp := context.WithCancel(context.Background())
	cfg.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.ChainStreamInterceptor(
		func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			ctx, cancel := context.WithCancel(stream.Context())
			defer cancel()
			stop := context.AfterFunc(open, cancel)
			defer stop()
			return handle(srv, &boundStream{stream, ctx})
		})}

	server, err := embed.StartEtcd(cfg)
	if err != nil {
		hangUp()
		return nil, fmt.Errorf("starting etcd in %s: %w", dir, err)
	}
	e := &Embedded{dir: dir, server: server, hangUp: hangUp}
	select {
	case <-server.Server.ReadyNotify():
	case err := <-server.Err():
		e.Close()
		return nil, fmt.Errorf("starting etcd in %s: %w; see etcd.log there", dir, err)
	case <-time.After(embedTimeout):
		e.Close()
		return nil, fmt.Errorf("starting etcd in %s: not ready after %v; see etcd.log there, or give the address of another etcd with --etcd", dir, embedTimeout)
	}
	for _, l := range server.Clients {
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("starting etcd in %s: its address: %w", dir, err), e.Close())
		}
		e.endpoints = append(e.endpoints, net.JoinHostPort(o.Advertise, port))
	}
	return e, nil
}

// boundStream is a stream that ends with a context of ours too.
type boundStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *boundStream) Context() context.Context { return s.ctx }

// Endpoints are the addresses for clients, HOST:PORT.
func (e *Embedded) Endpoints() []string { return e.endpoints }

// Close ends the etcd and removes its data. It may be called again.
func (e *Embedded) Close() error {
	var err error
	e.close.Do(func() {
		e.hangUp()
		e.server.Close()
		// An etcd that is told to end logs errors of its own about that: after an orderly end nothing in its log is worth keeping.
		err = errors.Join(os.RemoveAll(filepath.Join(e.dir, "member")), os.Remove(filepath.Join(e.dir, "etcd.log")))
		_ = os.Remove(e.dir) // only if nothing else is in it
	})
	return err
}
