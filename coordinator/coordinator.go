// Package coordinator is the process that a run's trainers and its users talk to. It waits until everybody is there, says who owns which
// shards, and again whenever somebody is lost, joins or leaves; it hands out the run's files, keeps its record and its checkpoints, and says
// how the run ended. What is to be done is decided in coordinator/quorum; here are the sockets, the clock, etcd and the disk.
//
// A Coordinator is the process: it listens, stands for election, and has a term for as long as it leads (term.go). A trainer speaks to a term
// by way of a Session (session.go), over gRPC or in the same process.
package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"

	"github.com/dither-ml/dither/coordinator/membership"
	"github.com/dither-ml/dither/coordinator/quorum"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const (
	defaultLeaseTTL = 5 * time.Second
	defaultSilence  = 2 * time.Second
	grace           = 3 * time.Second  // for trainers to call a new leader
	benched         = 30 * time.Second // for which a trainer is kept out that cannot reach another
	patience        = time.Minute      // with trainers that were ordered to stop after a failure: an iteration and a checkpoint
	graceful        = 2 * time.Second  // for streams to end by themselves on Close
	etcdDir         = "etcd"           // of an embedded etcd, in the run's folder
)

// Config is what a coordinator is given.
type Config struct {
	Run             string               // the run's name in etcd
	Dir             string               // the run's folder; it exists and has its spec.yaml
	Spec            *ditherv1.RunSpec    //
	SpecSHA256      string               // its hash (hex)
	Options         *ditherv1.RunOptions //
	Start, Min, Max int                  // trainers: Start begin, later generations have from Min (0: 1) to Max (0: one a shard)
	NeedTeacher     bool                 // whether it waits for a teacher-logit service too
	Registry        membership.Registry  // the run's membership; nil: in Etcd
	Etcd            []string             // addresses of an etcd; empty, without a Registry: one embedded in this process
	Listen          string               // HOST:PORT; port 0: any that is free. Empty with a Registry: no port, trainers Attach
	Advertise       string               // HOST:PORT under which others reach it; empty: where it listens
	LeaseTTL        time.Duration        // after which a silent coordinator is taken for dead; 0: 5 s
	Silence         time.Duration        // after which a silent trainer is lost; 0: 2 s
	Standby         bool                 // wait in line while another leads, for as long as that takes, and again when the lead is lost
	Version         string               // of this binary: everybody's must be the same
	Files           map[ditherv1.FileKind]string
	Resume          bool          // go on from the newest checkpoint in Dir; else Dir must have none. A run that goes on is taken over either way
	WaitTimeout     time.Duration // for trainers and teachers to join; 0: for ever
	Logger          *slog.Logger  // nil: none
	DataOfficial    bool          // for the result: the data's checksums are the official ones
}

// Coordinator is a run's coordinator at work.
type Coordinator struct {
	config   Config
	log      *slog.Logger
	listener net.Listener   // nil: none
	server   *grpc.Server   // nil: none
	health   *health.Server // nil: none
	embedded *membership.Embedded
	etcd     []string
	registry membership.Registry

	over   chan struct{} // closed once the result is there
	cancel context.CancelFunc
	done   sync.WaitGroup // the leading and the serving goroutine
	close  sync.Once
	closed error

	mu         sync.Mutex // over all below
	term       *term      // nil: it does not lead
	leader     string     // who leads where it does not
	stopReason string     // asked to stop the run; empty: it was not
	result     *ditherv1.RunResult
}

// Start listens, connects to etcd and comes to lead the run, or, on standby, gets in line. The context bounds the start alone; Close ends what was started.
func Start(ctx context.Context, config Config) (*Coordinator, error) {
	c := &Coordinator{config: config, registry: config.Registry}
	if config.Listen != "" || config.Registry == nil {
		var err error
		if c.listener, err = listen(config.Listen); err != nil {
			return nil, err
		}
	}
	return c, c.start(ctx)
}

// start is Start with c.listener, if there is to be one, and c.registry, if it is given.
func (c *Coordinator) start(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	c.setDefaults()
	if d := quorum.Decide(quorum.State{Shards: int(c.config.Spec.GetShards()), Start: c.config.Start, Min: c.config.Min, Max: c.config.Max}); d.Over {
		return errors.New(d.Reason)
	}
	if c.registry == nil {
		if err := c.connect(ctx); err != nil {
			return err
		}
	}
	var first *term
	if !c.config.Standby {
		lead, err := c.campaign(ctx)
		if err != nil {
			return err
		}
		if first, err = c.begin(ctx, lead); err != nil {
			return err
		}
	}
	loop, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.serve()
	if first != nil {
		c.enter(first)
	}
	c.done.Go(func() { c.stand(loop, first) })
	return nil
}

func (c *Coordinator) setDefaults() {
	if c.log = c.config.Logger; c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	set := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	set(&c.config.LeaseTTL, defaultLeaseTTL)
	set(&c.config.Silence, defaultSilence)
	// What a coordinator in line finds in its folder is this run's: its own of an earlier term, or that of the leader behind which it stood.
	c.config.Resume = c.config.Resume || c.config.Standby
	if c.config.Min == 0 {
		c.config.Min = 1
	}
	if c.config.Max == 0 {
		c.config.Max = max(c.config.Start, int(c.config.Spec.GetShards()))
	}
	c.over = make(chan struct{})
}

// Address is where the coordinator is reached, HOST:PORT.
func (c *Coordinator) Address() string {
	switch {
	case c.config.Advertise != "":
		return c.config.Advertise
	case c.listener != nil:
		return c.listener.Addr().String()
	}
	return "in-process"
}

// Wait waits until the run is over, whichever way, and its result is recorded; the error is the context's alone. A coordinator that lost the lead, and is
// not on standby, has a result that failed for the time being: the run goes on with another.
func (c *Coordinator) Wait(ctx context.Context) (*ditherv1.RunResult, error) {
	select {
	case <-c.over:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.result, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the run to end: %w", context.Cause(ctx))
	}
}

// end says how the run ended, as far as this process is concerned.
func (c *Coordinator) end(r *ditherv1.RunResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.result == nil {
		c.result = r
		close(c.over)
	}
}

// Stop ends the run after the iteration in flight, with a checkpoint. Wait says when it is done. One that stands by leaves the line.
func (c *Coordinator) Stop(reason string) {
	c.mu.Lock()
	if c.stopReason == "" {
		c.stopReason = reason
		c.log.Info("stopping the run", "reason", reason)
	}
	t, standby := c.term, c.config.Standby
	c.mu.Unlock()
	switch {
	case t != nil:
		t.stop(reason)
	case standby:
		c.cancel()
		c.end(&ditherv1.RunResult{Phase: string(quorum.Stopped), Reason: "stopped standing by: " + reason})
	}
}

// current is the term in which this coordinator leads; else the reason why there is none.
func (c *Coordinator) current() (*term, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.term != nil {
		return c.term, ""
	}
	if c.leader != "" && c.leader != c.Address() {
		return nil, fmt.Sprintf("this coordinator stands by: the one at %s leads", c.leader)
	}
	return nil, "this coordinator does not lead (yet, or any more)"
}

// Close ends everything, after telling those who watch what there is still to tell. Before the run is over it abandons it: trainers go on, and
// look for the next coordinator.
func (c *Coordinator) Close() error {
	c.close.Do(func() { c.closed = c.shutDown() })
	return c.closed
}

func (c *Coordinator) shutDown() error {
	var errs []error
	if c.cancel != nil {
		c.cancel()
		if t, _ := c.current(); t != nil {
			t.record.feed.end()
			if !t.isOver() {
				t.hangUp()
			}
		}
		if c.server != nil {
			c.health.Shutdown()
			late := time.AfterFunc(graceful, c.server.Stop)
			c.server.GracefulStop()
			late.Stop()
		}
		c.done.Wait()
	} else if c.listener != nil {
		errs = append(errs, c.listener.Close())
	}
	if t, _ := c.current(); t != nil {
		if c.embedded != nil && t.isOver() {
			c.awaitLeaving()
		}
		errs = append(errs, t.close())
	}
	if c.registry != nil && c.config.Registry == nil {
		errs = append(errs, c.registry.Close())
	}
	if c.embedded != nil {
		errs = append(errs, c.embedded.Close())
	}
	return errors.Join(errs...)
}

// awaitLeaving gives those who are through the time to leave an etcd that ends with this process.
func (c *Coordinator) awaitLeaving() {
	bound, cancel := context.WithTimeout(context.Background(), graceful)
	defer cancel()
	for members := range c.registry.WatchMembers(bound) {
		if len(members) == 0 {
			return
		}
	}
}
