package program

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
)

// apart is a set whose streams work apart from the host and from each other, as a GPU's do, only that it is settled when: eager streams do what they are given at once, the others when somebody waits
// for it and not before. What is not ordered by marks comes out wrong in one of the ways to settle that.
type apart struct {
	kernel.Set
	eager   []bool // by stream, in the order of NewStream
	deaf    bool   // to marks: nothing waits for them but the host
	streams int
}

func (s *apart) Traits() kernel.Traits {
	t := s.Set.Traits()
	t.Apart = true
	return t
}

func (s *apart) NewStream() kernel.Stream {
	s.streams++
	return &queue{set: s, does: s.Set.NewStream(), eager: s.eager[(s.streams-1)%len(s.eager)]}
}

func (s *apart) Prepare(op kernel.Op) (kernel.Kernel, error) {
	k, err := s.Set.Prepare(op)
	return queued{k}, err
}

type queued struct{ kernel.Kernel }

func (k queued) Launch(s kernel.Stream, args []kernel.Memory) {
	q := s.(*queue)
	q.put(job{do: func() { k.Kernel.Launch(q.does, args) }})
}

// job is something to do, after a place in another queue.
type job struct {
	do    func()
	after *queue
	until int
}

type queue struct {
	set   *apart
	does  kernel.Stream
	eager bool
	tape  *[]job
	jobs  []job
	done  int
}

func (q *queue) put(j job) {
	if q.tape != nil {
		*q.tape = append(*q.tape, j)
		return
	}
	q.jobs = append(q.jobs, j)
	if q.eager {
		q.run(len(q.jobs))
	}
}

func (q *queue) run(until int) {
	for q.done < until {
		j := q.jobs[q.done]
		if j.after != nil && !q.set.deaf {
			j.after.run(j.until)
		}
		if j.do != nil {
			j.do()
		}
		q.done++
	}
}

// host is memory for a copy that is made when the job is done.
func host(v any) any {
	if p, ok := v.(*kernel.Pinned); ok {
		return p.Host
	}
	return v
}

func (q *queue) Write(dst kernel.Memory, src any) {
	q.put(job{do: func() { q.does.Write(dst, host(src)) }})
}

func (q *queue) Read(dst any, src kernel.Memory) {
	q.put(job{do: func() { q.does.Read(host(dst), src) }})
}

func (q *queue) Host(kernel.Memory) []float32 { return nil }

func (q *queue) Sync() error {
	q.run(len(q.jobs))
	return nil
}

func (q *queue) Pin(t kernel.Type, n int) (*kernel.Pinned, error) {
	return &kernel.Pinned{Host: map[kernel.Type]any{kernel.Real: make([]float32, n), kernel.Byte: make([]byte, n), kernel.Int: make([]int32, n)}[t]}, nil
}

type taped struct {
	queue *queue
	jobs  []job
}

func (q *queue) Record(_ string, do func()) kernel.Recording {
	r := &taped{queue: q}
	q.tape = &r.jobs
	do()
	q.tape = nil
	return r
}

func (r *taped) Replay() {
	for _, j := range r.jobs {
		r.queue.put(j)
	}
}

type point struct {
	queue *queue
	at    int
}

func (q *queue) NewMark() kernel.Mark { return &point{} }

func (p *point) Set(s kernel.Stream) {
	p.queue = s.(*queue)
	p.at = len(p.queue.jobs)
}

func (p *point) Before(s kernel.Stream) {
	if p.queue != nil {
		s.(*queue).put(job{after: p.queue, until: p.at})
	}
}

func (p *point) Wait() error {
	if p.queue != nil {
		p.queue.run(p.at)
	}
	return nil
}

// orders are who of stream and side is eager.
var orders = [][]bool{{true, true}, {true, false}, {false, true}, {false, false}}

func TestWorkApartHasTheSameBits(t *testing.T) {
	for _, batchNorm := range []string{"shard", "global"} {
		c := smallConfig(small, 5, 3, batchNorm)
		one, seen := train(t, func() kernel.Set { return openCPU(t, 1) }, c, []int{5}, 4)
		for _, eager := range orders {
			for _, owned := range [][]int{{5}, {2, 3}} {
				other, theirs := train(t, func() kernel.Set { return &apart{Set: openCPU(t, 1), eager: eager} }, c, owned, 4)
				what := fmt.Sprintf("%s, shards owned %v, eager %v", batchNorm, owned, eager)
				sameBits(t, what, other, one)
				sameBits(t, what, map[string][]float32{"losses and correct": theirs}, map[string][]float32{"losses and correct": seen})
			}
		}
	}
}

// trainAhead takes steps whose inputs are sent while the step before is under way; the second one fails after that, and is done again.
func trainAhead(t *testing.T, set kernel.Set, steps int) (map[string][]float32, []float32) {
	t.Helper()
	c := smallConfig(small, 3, 3, "shard")
	p := newTraining(t, set, c)
	loadStart(t, p.Parameters(), p.Load)
	input := func(k int) samples { return makeSamples(c.Batch, small.Shape, uint64(k)) }
	sent := -1
	send := func(k int) {
		in := input(k)
		to, err := p.Room()
		if err != nil {
			t.Fatal(err)
		}
		copy(to.Pixels, in.pixels)
		copy(to.Geometry, in.geometry)
		copy(to.Labels, in.labels)
		if err := p.Send(); err != nil {
			t.Fatal(err)
		}
		sent = k
	}
	k := 0
	p.Meanwhile(func() { send(k + 1) })
	var seen []float32
	for redone := false; k < steps; k++ {
		if sent != k {
			send(k)
		}
		if err := p.SendSoft(input(k).soft); err != nil {
			t.Fatal(err)
		}
		losses, correct, err := p.Step(nil)
		if err != nil {
			t.Fatal(err)
		}
		if k == 1 && !redone {
			redone = true
			k-- // nobody commits it
			continue
		}
		seen = append(append(seen, losses...), correct...)
		if err := p.Commit(0.05); err != nil {
			t.Fatal(err)
		}
	}
	return keptState(t, p), seen
}

func TestAnInputAheadDisturbsNothing(t *testing.T) {
	one, seen := trainAhead(t, openCPU(t, 1), 5)
	for _, eager := range orders {
		other, theirs := trainAhead(t, &apart{Set: openCPU(t, 1), eager: eager}, 5)
		what := fmt.Sprintf("eager %v", eager)
		sameBits(t, what, other, one)
		sameBits(t, what, map[string][]float32{"losses and correct": theirs}, map[string][]float32{"losses and correct": seen})
	}
}

// The double sees what it is there for: without the marks' order, the bits are others.
func TestWithoutMarksTheBitsAreOthers(t *testing.T) {
	_, seen := trainAhead(t, openCPU(t, 1), 5)
	for _, eager := range orders[1:3] { // where one runs ahead of the other
		_, theirs := trainAhead(t, &apart{Set: openCPU(t, 1), eager: eager, deaf: true}, 5)
		if slices.Equal(seen, theirs) {
			t.Errorf("eager %v: marks that nothing waits for change nothing", eager)
		}
	}
}
