// Package coordinator is the process that a run's trainers and its users talk to. It waits until everybody is there, says who owns which
// shards, hands out the run's files, gathers records, keeps checkpoints, and says how the run ended. What is to be done is decided in
// coordinator/quorum; here are the sockets, the clock, etcd and the disk.
package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"

	"github.com/dither-ml/dither/coordinator/membership"
	"github.com/dither-ml/dither/coordinator/quorum"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const (
	defaultLeaseTTL = 10 * time.Second
	patience        = time.Minute     // with trainers that were ordered to stop after a failure: an iteration and a checkpoint
	graceful        = 2 * time.Second // for streams to end by themselves on Close
	etcdDir         = "etcd"          // of an embedded etcd, in the run's folder
)

// Config is what a coordinator is given.
type Config struct {
	Run          string               // the run's name in etcd
	Dir          string               // the run's folder; it exists and has its spec.yaml
	Spec         *ditherv1.RunSpec    //
	SpecSHA256   string               // its hash (hex)
	Options      *ditherv1.RunOptions //
	Trainers     int                  // that the first generation waits for
	NeedTeacher  bool                 // whether it waits for a teacher-logit service too
	Etcd         []string             // addresses of an etcd; empty: one embedded in this process
	Listen       string               // HOST:PORT; port 0: any that is free
	Advertise    string               // HOST:PORT under which others reach it; empty: where it listens
	LeaseTTL     time.Duration        // after which a silent coordinator is taken for dead; 0: 10 s
	Version      string               // of this binary: everybody's must be the same
	Files        map[ditherv1.FileKind]string
	Resume       bool          // go on from the newest checkpoint in Dir; else Dir must have none
	WaitTimeout  time.Duration // for trainers and teachers to join; 0: for ever
	Logger       *slog.Logger  // nil: none
	DataOfficial bool          // for the result: the data's checksums are the official ones
}

// Coordinator is a run's coordinator at work.
type Coordinator struct {
	config   Config
	log      *slog.Logger
	listener net.Listener
	server   *grpc.Server
	health   *health.Server
	embedded *membership.Embedded // nil: an etcd of others
	etcd     []string
	registry membership.Registry
	lead     *membership.Leadership
	store    *checkpoints
	record   *record

	kick   chan struct{} // capacity 1: there is something new to decide on
	over   chan struct{} // closed once the result is recorded
	cancel context.CancelFunc
	done   sync.WaitGroup // the deciding and the serving goroutine
	close  sync.Once
	closed error

	mu    sync.Mutex // over all below
	state state
}

// Start listens, connects to etcd, comes to lead the run, and begins to decide. The context bounds the start alone; Close ends what was started.
func Start(ctx context.Context, config Config) (*Coordinator, error) {
	listener, err := listen(config.Listen)
	if err != nil {
		return nil, err
	}
	c := &Coordinator{config: config, listener: listener}
	if err := c.connect(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := c.begin(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// listen is net.Listen, with a sentence for what goes wrong most.
func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	var system syscall.Errno
	switch {
	case err == nil:
		return l, nil
	case errors.As(err, &system):
		return nil, fmt.Errorf("cannot listen on %s: %w; choose another with --listen", address, system)
	}
	return nil, fmt.Errorf("cannot listen on %s: %w; give HOST:PORT with --listen", address, err)
}

// connect reaches the etcd that is to be used, starting one where none is given.
func (c *Coordinator) connect(ctx context.Context) error {
	c.etcd = c.config.Etcd
	if len(c.etcd) == 0 {
		options, err := c.embedOptions()
		if err != nil {
			return err
		}
		if c.embedded, err = membership.Embed(filepath.Join(c.config.Dir, etcdDir), options); err != nil {
			return err
		}
		c.etcd = c.embedded.Endpoints()
	}
	client, err := membership.Connect(ctx, c.etcd, c.config.Run)
	if err != nil {
		return err
	}
	c.registry = client
	return nil
}

// embedOptions lets the etcd be reached by those who reach the coordinator.
func (c *Coordinator) embedOptions() (membership.EmbedOptions, error) {
	var o membership.EmbedOptions
	host, _, err := net.SplitHostPort(c.listener.Addr().String())
	if err != nil {
		return o, fmt.Errorf("where the coordinator listens: %w", err)
	}
	o.Host = host
	if c.config.Advertise != "" {
		if o.Advertise, _, err = net.SplitHostPort(c.config.Advertise); err != nil {
			return o, fmt.Errorf("--advertise %s: %w; give HOST:PORT", c.config.Advertise, err)
		}
	} else if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return o, fmt.Errorf("%s is every address of this machine: say with --advertise HOST:PORT under which one trainers reach the coordinator and its etcd", c.config.Listen)
	}
	return o, nil
}

// begin opens what the run has on disk, comes to lead, and starts to serve and to decide. c.registry and c.listener are there.
func (c *Coordinator) begin(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	c.setDefaults()
	if c.store, err = openCheckpoints(c.config.Dir); err != nil {
		return err
	}
	after, found := c.store.newest()
	if found && !c.config.Resume {
		return fmt.Errorf("folder %s has checkpoints of an earlier run (the newest after iteration %d): go on with it with --resume, or use another folder", c.config.Dir, after)
	}
	c.state = newState(c.config, after)
	if d := quorum.Decide(c.quorumState(time.Now())); d.Over {
		return errors.New(d.Reason)
	}
	if c.lead, err = c.campaign(ctx); err != nil {
		return err
	}
	// A generation that is there is of an execution that is over, and its trainers with it.
	if err := c.registry.ClearGeneration(ctx, c.lead); err != nil {
		return err
	}
	if c.record, err = openRecord(c.config, after); err != nil {
		return err
	}
	c.kick, c.over = make(chan struct{}, 1), make(chan struct{})
	c.server, c.health = newServer(c)
	loop, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.done.Go(func() { c.decide(loop) })
	c.done.Go(func() {
		if err := c.server.Serve(c.listener); err != nil {
			c.fail(fmt.Sprintf("the coordinator cannot serve any more: %v", err))
		}
	})
	return nil
}

func (c *Coordinator) setDefaults() {
	if c.log = c.config.Logger; c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.config.LeaseTTL <= 0 {
		c.config.LeaseTTL = defaultLeaseTTL
	}
}

// campaign comes to lead the run. Another coordinator may be dead without its lease having ended: that is waited for, and no longer.
func (c *Coordinator) campaign(ctx context.Context) (*membership.Leadership, error) {
	other, err := c.registry.Leader(ctx)
	if err != nil {
		return nil, err
	}
	if other != "" {
		c.log.Warn("another coordinator leads this run; waiting for it to end, or for its lease to", "run", c.config.Run, "other", other)
	}
	bound, cancel := context.WithTimeout(ctx, c.config.LeaseTTL+2*time.Second)
	defer cancel()
	lead, err := c.registry.Campaign(bound, c.Address(), c.config.LeaseTTL)
	if err != nil && ctx.Err() == nil && errors.Is(bound.Err(), context.DeadlineExceeded) {
		if other, _ = c.registry.Leader(ctx); other != "" {
			return nil, fmt.Errorf("run %q already has a coordinator at %s: stop that one (dither stop %s), or use another folder or etcd for this one", c.config.Run, other, other)
		}
	}
	return lead, err
}

// Address is where the coordinator is reached, HOST:PORT.
func (c *Coordinator) Address() string {
	if c.config.Advertise != "" {
		return c.config.Advertise
	}
	return c.listener.Addr().String()
}

// Wait waits until the run is over, whichever way, and its result is recorded; the error is the context's alone.
func (c *Coordinator) Wait(ctx context.Context) (*ditherv1.RunResult, error) {
	select {
	case <-c.over:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.state.result, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the run to end: %w", context.Cause(ctx))
	}
}

// Stop ends the run after the iteration in flight, with a checkpoint. Wait says when it is done.
func (c *Coordinator) Stop(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.state.stopAsked {
		c.state.stopAsked, c.state.stopReason = true, reason
		c.log.Info("stopping the run", "reason", reason)
	}
	c.wake()
}

// Close ends everything, after telling those who watch what there is still to tell. Before the run is over it abandons it: trainers find
// their coordinator gone.
func (c *Coordinator) Close() error {
	c.close.Do(func() { c.closed = c.shutDown() })
	return c.closed
}

func (c *Coordinator) shutDown() error {
	var errs []error
	if c.cancel != nil {
		c.cancel()
		c.record.feed.end()
		c.health.Shutdown()
		late := time.AfterFunc(graceful, c.server.Stop)
		c.server.GracefulStop()
		late.Stop()
		c.done.Wait()
	} else {
		errs = append(errs, c.listener.Close())
	}
	if c.embedded != nil && c.cancel != nil {
		c.awaitLeaving()
	}
	if c.lead != nil {
		bound, cancel := context.WithTimeout(context.Background(), graceful)
		_ = c.lead.Resign(bound) // else its lease ends by itself
		cancel()
	}
	if c.record != nil {
		errs = append(errs, c.record.close())
	}
	if c.registry != nil {
		errs = append(errs, c.registry.Close())
	}
	if c.embedded != nil {
		errs = append(errs, c.embedded.Close())
	}
	return errors.Join(errs...)
}

// awaitLeaving gives those who are through the time to leave an etcd that ends with this process.
func (c *Coordinator) awaitLeaving() {
	c.mu.Lock()
	over, gone := c.state.result != nil, c.state.gone
	c.mu.Unlock()
	if !over {
		return
	}
	bound, cancel := context.WithTimeout(context.Background(), graceful)
	defer cancel()
	for members := range c.registry.WatchMembers(bound) {
		if !slices.ContainsFunc(members, func(m *ditherv1.Member) bool { _, dead := gone[m.GetId()]; return !dead }) {
			return
		}
	}
}

// wake has the state looked at again.
func (c *Coordinator) wake() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}
