package cpu

import (
	"sync"
	"sync/atomic"
)

// pool does a step's units on a fixed number of workers. The launching goroutine is worker 0; the others are parked between steps.
// Nothing is allocated after the start.
type pool struct {
	mu      sync.Mutex // held for a step: several streams take turns
	threads int
	wake    []chan *step // one for each parked worker
	next    atomic.Int64 // the first unit that nobody has taken
	busy    sync.WaitGroup
	ended   sync.WaitGroup
}

// little is the work, in nanoseconds, below which waking others costs more than it saves.
const little = 20_000

func newPool(threads int) *pool {
	p := &pool{threads: threads}
	for worker := 1; worker < threads; worker++ {
		wake := make(chan *step, 1)
		p.wake = append(p.wake, wake)
		p.ended.Go(func() {
			for s := range wake {
				p.take(s, worker)
				p.busy.Done()
			}
		})
	}
	return p
}

// run does all units of s.
func (p *pool) run(s *step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next.Store(0)
	if s.work > little {
		helpers := p.wake[:min(len(p.wake), s.units-1)]
		p.busy.Add(len(helpers))
		for _, w := range helpers {
			w <- s
		}
	}
	p.take(s, 0)
	p.busy.Wait()
}

func (p *pool) take(s *step, worker int) {
	for {
		unit := int(p.next.Add(1)) - 1
		if unit >= s.units {
			return
		}
		s.run(worker, unit)
	}
}

func (p *pool) close() {
	for _, w := range p.wake {
		close(w)
	}
	p.wake = nil
	p.ended.Wait()
}
