package kerneltest

import "github.com/dither-ml/dither/trainer/kernel"

// Apart is a set whose streams work apart from the host and from each other, as a GPU's do, only that it is settled when: eager streams do what they are given at once, the others when somebody waits
// for it and not before. What is not ordered by marks comes out wrong in one of the ways to settle that. It is for one goroutine.
type Apart struct {
	kernel.Set
	Eager   []bool // by stream, in the order of NewStream, and again from the first
	Deaf    bool   // to marks: nothing waits for them but the host
	Lone    bool   // it reaches no other
	streams int
}

// Orders are the ways to settle it for a program with a stream and one beside it.
func Orders() [][]bool { return [][]bool{{true, true}, {true, false}, {false, true}, {false, false}} }

func (s *Apart) Traits() kernel.Traits {
	t := s.Set.Traits()
	t.Apart = true
	return t
}

// Close leaves the set that does the work open.
func (*Apart) Close() {}

func (s *Apart) NewStream() kernel.Stream {
	s.streams++
	return &queue{set: s, does: s.Set.NewStream(), eager: s.Eager[(s.streams-1)%len(s.Eager)]}
}

func (s *Apart) Prepare(op kernel.Op) (kernel.Kernel, error) {
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
	set   *Apart
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
		if j.after != nil && !q.set.Deaf {
			j.after.run(j.until)
		}
		if j.do != nil {
			j.do()
		}
		q.done++
	}
}

// host is memory for a copy that is made when the job is done. Another set's memory panics at once.
func (q *queue) host(m kernel.Memory, v any) any {
	q.does.Host(m)
	if p, ok := v.(*kernel.Pinned); ok {
		return p.Host
	}
	if q.tape != nil {
		panic("kernel: a copy from memory that is not pinned is recorded")
	}
	return v
}

func (q *queue) Write(dst kernel.Memory, src any) {
	v := q.host(dst, src)
	q.put(job{do: func() { q.does.Write(dst, v) }})
}

func (q *queue) Read(dst any, src kernel.Memory) {
	v := q.host(src, dst)
	q.put(job{do: func() { q.does.Read(v, src) }})
}

// Reaches implements kernel.Neighbour.
func (q *queue) Reaches(from kernel.Stream) (bool, error) {
	_, is := from.(*queue)
	return is && !q.set.Lone, nil
}

// Fetch implements kernel.Neighbour.
func (q *queue) Fetch(dst kernel.Memory, from kernel.Stream, src kernel.Memory) {
	if q.tape != nil || dst.Len() != src.Len() {
		panic("kernel: a fetch is recorded, or is of another length")
	}
	other := from.(*queue).does
	q.does.Host(dst) // its own
	q.put(job{do: func() { q.does.Write(dst, other.Host(src)) }})
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
	defer func() { q.tape = nil }()
	do()
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
