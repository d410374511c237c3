package membership

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"google.golang.org/grpc"
)

const embedTimeout = 20 * time.Second // for a start, and the first answer after it; usually well below one

// EmbedOptions says where an embedded etcd listens, and whether it is one of several. The zero value is one of its own, for this process and this machine.
type EmbedOptions struct {
	// Host is the address to listen on; empty: 127.0.0.1. This etcd asks nobody for a password: another address than a loopback one belongs in a network of one's own.
	Host string
	// Port is where clients reach it; 0: any that is free.
	Port uint16
	// Advertise is the host under which others reach it; empty: Host.
	Advertise string
	// Keep holds its data for the next start, synced to disk at every write. Else it begins empty, and takes them away on Close.
	Keep bool

	// Name is the member's among several; empty where it is alone.
	Name string
	// PeerListen is the HOST:PORT on which it hears the other members.
	PeerListen string
	// Cluster is every member as NAME=http://HOST:PORT, itself among them, separated by commas: where the others reach each.
	Cluster string
}

// Embedded is an etcd in this process.
type Embedded struct {
	dir       string
	keep      bool
	log       *etcdLog
	server    *embed.Etcd
	endpoints []string
	hangUp    context.CancelFunc // ends the clients' streams
	close     sync.Once
}

// smallLog keeps etcd's preallocated files from taking 128 MB of a run's folder for a few hundred keys.
var smallLog = sync.OnceFunc(func() { wal.SegmentSizeBytes = 1 << 20 })

// Embed starts an etcd in this process, its data under dir, and waits until it answers; one of several is not waited for, as it takes more than
// half of them to answer: Ready says when they do. Without Keep it lives and dies with the process and so do those whom it serves: it begins empty (what an
// earlier one left in dir is removed) and does not sync its files. What etcd has to say for itself (warnings and worse) goes to etcd.log in dir.
func Embed(dir string, o EmbedOptions) (*Embedded, error) {
	smallLog()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("starting etcd: %w", err)
	}
	if !o.Keep {
		if err := os.RemoveAll(filepath.Join(dir, "member")); err != nil {
			return nil, fmt.Errorf("starting etcd: clearing its folder: %w", err)
		}
	}
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if o.Advertise == "" {
		o.Advertise = o.Host
	}
	cfg, err := o.config(dir)
	if err != nil {
		return nil, err
	}
	log, err := openLog(dir)
	if err != nil {
		return nil, fmt.Errorf("starting etcd: %w", err)
	}
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log.logger())

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

	server, err := log.start(cfg)
	if err != nil {
		hangUp()
		log.Close()
		return nil, fmt.Errorf("starting etcd in %s: %w", dir, err)
	}
	e := &Embedded{dir: dir, keep: o.Keep, log: log, server: server, hangUp: hangUp}
	if o.Cluster != "" {
		e.endpoints = []string{net.JoinHostPort(o.Advertise, strconv.Itoa(int(o.Port)))}
		return e, nil
	}
	select {
	case <-e.Ready():
	case err := <-e.Failed():
		_ = e.Close() // the first error says more
		return nil, fmt.Errorf("starting etcd in %s: %w; see etcd.log there", dir, err)
	case <-time.After(embedTimeout):
		_ = e.Close()
		return nil, fmt.Errorf("starting etcd in %s: not ready after %v; see etcd.log there, or give the address of another etcd with --etcd", dir, embedTimeout)
	}
	for _, l := range server.Clients {
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			_ = e.Close()
			return nil, fmt.Errorf("starting etcd in %s: its address: %w", dir, err)
		}
		e.endpoints = append(e.endpoints, net.JoinHostPort(o.Advertise, port))
	}
	return e, nil
}

// config is etcd's own form of the options.
func (o EmbedOptions) config(dir string) (*embed.Config, error) {
	listen := url.URL{Scheme: "http", Host: net.JoinHostPort(o.Host, strconv.Itoa(int(o.Port)))}
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{listen}, []url.URL{listen}
	cfg.UnsafeNoFsync = !o.Keep
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = "revision", "1000" // who is there now is all that counts
	if o.Cluster == "" {
		cfg.Name = "dither"
		cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
		cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
		cfg.TickMs, cfg.ElectionMs = 100, 500 // alone, it elects itself after one election timeout
		return cfg, nil
	}
	peer.Host = o.PeerListen
	own, err := o.own()
	if err != nil {
		return nil, err
	}
	cfg.Name, cfg.InitialCluster = o.Name, o.Cluster
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{*own}
	return cfg, nil
}

// own is where the other members of the cluster reach this one.
func (o EmbedOptions) own() (own *url.URL, err error) {
	for member := range strings.SplitSeq(o.Cluster, ",") {
		name, at, ok := strings.Cut(member, "=")
		u, err := url.Parse(at)
		if !ok || name == "" || err != nil || u.Scheme != "http" || u.Port() == "" {
			return nil, fmt.Errorf("%q is no member of an etcd cluster; write NAME=http://HOST:PORT for each, separated by commas", member)
		}
		if name == o.Name {
			own = u
		}
	}
	if own == nil {
		err = fmt.Errorf("the etcd cluster %s has no member of the name of this one, %q", o.Cluster, o.Name)
	}
	return own, err
}

// boundStream is a stream that ends with a context of ours too.
type boundStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *boundStream) Context() context.Context { return s.ctx }

// Connect reaches it for a run.
func (e *Embedded) Connect(ctx context.Context, run string) (*Client, error) {
	return ConnectWithin(ctx, e.Endpoints(), run, embedTimeout)
}

// Ready is closed once it answers.
func (e *Embedded) Ready() <-chan struct{} { return e.server.Server.ReadyNotify() }

// Failed gives the error for which it ended by itself, once.
func (e *Embedded) Failed() <-chan error { return e.log.failed }

// Endpoints are the addresses for clients, HOST:PORT.
func (e *Embedded) Endpoints() []string { return e.endpoints }

// Close ends the etcd, and removes its data unless they are to be kept. It may be called again.
func (e *Embedded) Close() error {
	var err error
	e.close.Do(func() {
		e.hangUp()
		e.log.end(e.server)
		e.log.Close()
		if e.keep {
			return
		}
		err = os.RemoveAll(filepath.Join(e.dir, "member"))
		if !e.log.over() {
			// An etcd that is told to end logs errors of its own about that: after an orderly end nothing in its log is worth keeping.
			err = errors.Join(err, os.Remove(filepath.Join(e.dir, etcdLogName)))
		}
		_ = os.Remove(e.dir) // only if nothing else is in it
	})
	return err
}
