package main

import (
	"fmt"
	"slices"
	"time"
)

const (
	restartsAtMost = 5
	restartsWithin = time.Minute
)

// fate is what is to become of a child that ended.
type fate int

const (
	rests   fate = iota // it is done
	returns             // it was lost, and is started again
	fails               // it would end in the same way again
)

// fateOf tells it from an exit code; a signal's is negative.
func fateOf(code int) fate {
	switch {
	case code == exitOK || code == exitStopped:
		return rests
	case code < 0 || code == exitTemporary:
		return returns
	}
	return fails
}

// restarts bounds how often a child is started again.
type restarts struct {
	times []time.Time // within restartsWithin, oldest first
}

// again says whether one more is allowed now, and counts it if so.
func (r *restarts) again(now time.Time) bool {
	r.times = slices.DeleteFunc(r.times, func(t time.Time) bool { return now.Sub(t) >= restartsWithin })
	if len(r.times) >= restartsAtMost {
		return false
	}
	r.times = append(r.times, now)
	return true
}

// role is a child of `dither run` that is started again when it is lost.
type role struct {
	name string                     // "trainer-0": of its first life, and of its log
	kind string                     // what `dither serve` calls it
	args func(name string) []string // of a life by that name
	said func(listening)            // is told where each life can be reached; nil: it does not say
	over func(began time.Time) bool // whether the run ended since, and so its end is no loss; nil: never
}

// life is the name of a role's nth life: a trainer that is lost and its successor must not be taken for one.
func (r *role) life(n int) string {
	if n == 1 {
		return r.name
	}
	return fmt.Sprintf("%s.%d", r.name, n)
}

// run starts a role, and goes on to start it whenever it is lost.
func (c *crew) run(r *role) error {
	began := time.Now()
	k, err := c.live(r, 1)
	if err != nil {
		return err
	}
	c.tending.Go(func() { c.tend(r, k, began) })
	return nil
}

// live starts a life of a role.
func (c *crew) live(r *role, n int) (*child, error) {
	var at *listening
	if r.said != nil {
		at = &listening{}
	}
	k, err := c.start(r, r.args(r.life(n)), at)
	if err == nil && at != nil {
		r.said(*at)
	}
	return k, err
}

func (c *crew) tend(r *role, k *child, began time.Time) {
	var count restarts
	for n := 2; ; n++ {
		<-k.done
		if c.isEnding() {
			return
		}
		if r.over != nil && r.over(began) {
			c.rest(k)
			return
		}
		switch fateOf(k.code()) {
		case rests:
			c.rest(k)
			return
		case fails:
			c.fail(r, k.why())
			return
		}
		if began = time.Now(); !count.again(began) {
			c.fail(r, temporary(fmt.Errorf("%s was lost more than %d times within a minute: %w", r.name, restartsAtMost, k.why())))
			return
		}
		c.say(fmt.Sprintf("%s was lost (%v); starting it again as %s", r.life(n-1), k.cmd.ProcessState, r.life(n)))
		next, err := c.live(r, n)
		switch {
		case c.isEnding():
			return
		case next == nil:
			c.fail(r, err)
			return
		}
		k = next // one that said nothing has ended: it is seen to like any other
	}
}

// fail notes that a role does not come back.
func (c *crew) fail(r *role, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = append(c.failed, failure{r, why})
	c.tell()
}

// rest notes that a role is done. A coordinator is when the run is over.
func (c *crew) rest(k *child) {
	if k.kind != "coordinator" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = k
	c.tell()
}

// rested is the coordinator, if it is done.
func (c *crew) rested() *child {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done
}

// tell makes those look who wait for news; c.mu is held.
func (c *crew) tell() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// failure is why a role does not come back.
type failure struct {
	role *role
	why  error
}

// firstFailure is why the first role that does not come back does not; nil while all do.
func (c *crew) firstFailure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failed) == 0 {
		return nil
	}
	return c.failed[0].why
}

// beyondRepair says whether the run lacks a role that does not come back: fewer trainers than it needs are left, or another role is gone.
func (c *crew) beyondRepair(trainers, needed uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.failed {
		if f.role.kind != "trainer" {
			return true
		}
		trainers--
	}
	return trainers < needed
}
