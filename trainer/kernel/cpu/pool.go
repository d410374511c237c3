package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// pool does a step's units on a fixed number of workers. The launching goroutine is worker 0. A training step has hundreds of steps a few hundred microseconds long, so the other workers look out
// for the next one for a while before they sleep. Nothing is allocated after the start.
type pool struct {
	mu      sync.Mutex // held for a step: several streams take turns
	threads int
	others  []*worker

	step   *step        // the present one: written before round, read after it
	round  atomic.Int64 // steps that the others were called to
	_      [56]byte     // what all workers write has cache lines of its own
	next   atomic.Int64 // the first unit that nobody has taken
	_      [56]byte
	absent atomic.Int64 // workers that are still at the present step
	closed atomic.Bool
	ended  sync.WaitGroup
}

// worker is one of the others.
type worker struct {
	sleeps atomic.Bool
	wake   chan struct{}
}

const (
	// little is the work, in nanoseconds, below which calling others costs more than it saves.
	little = 5_000
	// looks is how often a worker looks for work between two offers of its processor to other goroutines, and patience how many offers it makes before it sleeps: some 100 microseconds.
	looks    = 128
	patience = 500
)

func newPool(threads int) *pool {
	p := &pool{threads: threads}
	for number := 1; number < threads; number++ {
		w := &worker{wake: make(chan struct{}, 1)}
		p.others = append(p.others, w)
		p.ended.Go(func() { p.work(w, number) })
	}
	return p
}

// work is the life of a worker.
func (p *pool) work(w *worker, number int) {
	for seen := int64(0); ; seen++ {
		p.await(w, seen)
		if p.closed.Load() {
			return
		}
		p.take(p.step, number)
		p.absent.Add(-1)
	}
}

// await returns when there is a round after the one seen. A caller that was held up may wake a worker for a round that it has done already: that is no round.
func (p *pool) await(w *worker, seen int64) {
	for {
		for range patience {
			for range looks {
				if p.round.Load() != seen {
					return
				}
			}
			runtime.Gosched()
		}
		w.sleeps.Store(true)
		if p.round.Load() != seen && w.sleeps.CompareAndSwap(true, false) {
			return // nobody has seen it sleep
		}
		<-w.wake
	}
}

// call begins a round.
func (p *pool) call() {
	p.round.Add(1)
	for _, w := range p.others {
		if w.sleeps.CompareAndSwap(true, false) {
			w.wake <- struct{}{}
		}
	}
}

// run does all units of s.
func (p *pool) run(s *step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next.Store(0)
	together := s.work > little && s.units > 1 && len(p.others) > 0
	if together {
		p.step = s
		p.absent.Store(int64(len(p.others)))
		p.call()
	}
	p.take(s, 0)
	for i := 0; together && p.absent.Load() > 0; i++ {
		if i%looks == looks-1 {
			runtime.Gosched()
		}
	}
}

func (p *pool) take(s *step, number int) {
	for {
		unit := int(p.next.Add(1)) - 1
		if unit >= s.units {
			return
		}
		s.run(number, unit)
	}
}

func (p *pool) close() {
	p.closed.Store(true)
	p.call()
	p.ended.Wait()
}
