package simulation

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/dither-ml/dither/coordinator"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// graceful is how long a coordinator that is through waits for its trainers to hear it.
const graceful = 2 * time.Second

// candidate is a coordinator: the production one, that stands for election in the Fake's etcd and is spoken to in the same process.
type candidate struct {
	*machine
	dir         string
	coordinator *coordinator.Coordinator
	done        chan struct{}
	buried      chan struct{}       // closed once nothing of it is left
	closing     bool                // guarded by the world
	result      *ditherv1.RunResult // guarded by the world; nil: none
}

// coordinate begins a new coordinator on a host, whose folder outlives it.
func (w *world) coordinate(host string) {
	w.mu.Lock()
	var before *candidate
	for _, c := range w.leaders {
		if c.host == host {
			before = c
		}
	}
	w.mu.Unlock()
	if before != nil {
		if w.mu.Lock(); !before.dead && !before.closing {
			w.mu.Unlock()
			return // it is there
		}
		w.mu.Unlock()
		<-before.buried
	}
	dir := filepath.Join(w.dir, host)
	_, err := os.Stat(dir)
	resume := err == nil
	if err := os.MkdirAll(dir, 0o755); err != nil {
		panic(err)
	}
	w.mu.Lock()
	name := fmt.Sprintf("%s.%d", host, len(w.leaders))
	w.mu.Unlock()
	c := &candidate{machine: w.machine(host, name), dir: dir, done: make(chan struct{}), buried: make(chan struct{})}
	c.coordinator, err = coordinator.Start(context.Background(), coordinator.Config{Run: runName, Dir: dir, Spec: w.spec, SpecSHA256: w.run.GetSpecSha256(), Options: w.run.GetOptions(),
		Start: w.Start, Min: w.Min, Max: w.Max, NeedTeacher: true, Registry: w.registry(c.machine), Advertise: name, LeaseTTL: w.Lease, Silence: silence, Standby: true, Version: version,
		Files: map[ditherv1.FileKind]string{}, Resume: resume, Logger: w.log.With(slog.String("coordinator", name))})
	if err != nil {
		panic(err)
	}
	w.note("%s is started", name)
	w.change(func() {
		w.leaders = append(w.leaders, c)
		w.leases()
	})
	w.all.Go(func() {
		defer close(c.done)
		r, err := c.coordinator.Wait(c.ctx)
		if err != nil {
			return // it was ended
		}
		w.note("%s says that the run is over: %s after iteration %d, %s: %s", name, r.GetPhase(), r.GetIteration(), r.GetParametersSha256(), r.GetReason())
		w.change(func() {
			c.result = r
			if w.result == nil && !c.dead {
				w.result, w.ender, w.etcdAway = r, c, !w.open(host, etcdHost)
			}
		})
		if !w.LateKill {
			time.Sleep(graceful)
			c.close() // as the command does
		}
	})
}

// kill ends it as kill -9 does: nothing of it reaches anybody any more, and its leases end in time.
func (c *candidate) kill() {
	w := c.w
	var was, closing bool
	w.change(func() {
		was, c.dead = c.dead, true
		closing, c.closing = c.closing, true
		w.leases()
	})
	if was {
		return
	}
	w.note("%s is killed", c.name)
	w.etcd.Abandon(runName, c.name)
	c.end(errKilled)
	if !closing {
		w.all.Go(c.bury)
	}
}

// bury ends its goroutines and closes its files.
func (c *candidate) bury() {
	if err := c.coordinator.Close(); err != nil && !c.isDead() {
		_ = c.w.defect("ending %s: %v", c.name, err)
	}
	c.w.change(func() {
		c.dead = true
		c.w.leases()
	})
	c.end(errKilled)
	close(c.buried)
}

// close ends it in order, once it does not stand still.
func (c *candidate) close() {
	c.w.all.Go(func() {
		if c.gate() != nil {
			return
		}
		var closing bool
		c.w.change(func() { closing, c.closing = c.closing, true })
		if closing {
			return
		}
		c.w.note("%s is ended in order", c.name)
		c.end(errKilled)
		c.bury()
	})
}
