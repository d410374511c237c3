// Package scale models an iteration of a run at sizes that no machine here has: who sends what to whom is the all-reduce's own routing, and the time of
// each message is that of a network with a latency, a bandwidth and a cost for every message. docs/scale.md is what it says.
package scale

import (
	"cmp"
	"slices"

	"github.com/dither-ml/dither/trainer/allreduce"
)

// Net is the network and what handling a message costs. Every trainer has a link of its own into a switch that is never the limit.
type Net struct {
	Name       string
	Latency    float64 // seconds, one way
	Bandwidth  float64 // bytes a second, each way
	PerMessage float64 // seconds of a core for sending or receiving a message
	PerByte    float64 // and for each byte of it; a trainer has one core for this
}

// handle is the core's time for one end of a message.
func (n Net) handle(bytes float64) float64 { return n.PerMessage + bytes*n.PerByte }

// Job is an iteration of one trainer: seconds of computing, and the buckets of gradients that it completes on the way.
type Job struct {
	Name    string
	Step    float64 // seconds
	Buckets []int   // floats
}

// ready is when a bucket is complete: the forward pass takes a third of a step, and the backward pass completes the buckets evenly.
func (j Job) ready(bucket int) float64 {
	return j.Step * (1 + 2*float64(bucket+1)/float64(len(j.Buckets))) / 3
}

// Floats of all buckets.
func (j Job) Floats() (n int) {
	for _, b := range j.Buckets {
		n += b
	}
	return n
}

// Result is an iteration.
type Result struct {
	Seconds  float64 // from its begin until every trainer has every sum
	Exposed  float64 // of these, after the last trainer's computing
	Messages int     // that the busiest trainer sends and receives
	Streams  int     // that a trainer has open
	Bytes    float64 // that the busiest trainer sends
}

// Limit is what no all-reduce can undercut: the last bucket's optimal volume after the step, or all of it after the first bucket, and two latencies.
func Limit(trainers int, j Job, n Net) Result {
	share := 2 * float64(trainers-1) / float64(trainers) * 4 / n.Bandwidth
	end := 0.0
	left := float64(j.Floats())
	for b, floats := range j.Buckets {
		end = max(end, j.ready(b)+left*share)
		left -= float64(floats)
	}
	return j.result(end+2*n.Latency, Result{Bytes: share * float64(j.Floats()) * n.Bandwidth})
}

func (j Job) result(end float64, r Result) Result {
	r.Seconds = max(end, j.Step)
	r.Exposed = r.Seconds - j.Step
	return r
}

// Ring is the ring all-reduce: 2(T-1) rounds for each bucket, one bucket after another as they come.
func Ring(trainers int, j Job, n Net) Result {
	end, rounds := 0.0, 2*(trainers-1)
	for b, floats := range j.Buckets {
		piece := 4 * float64(floats) / float64(trainers)
		end = max(end, j.ready(b)) + float64(rounds)*(n.Latency+2*n.handle(piece)+piece/n.Bandwidth)
	}
	share := 2 * float64(trainers-1) / float64(trainers) * 4
	return j.result(end, Result{Messages: 2 * rounds * len(j.Buckets), Streams: 2, Bytes: share * float64(j.Floats())})
}

// Levels is the all-reduce level by level along subtrees of fanIn: at each level the owners within a group of fanIn cut what they hold among themselves, so that a trainer
// talks to fanIn-1 others a level. The order of a sum, and so its bits, are those of the direct way.
func Levels(trainers, fanIn int, j Job, n Net) Result {
	r := Result{}
	end := 0.0
	for b, floats := range j.Buckets {
		end = max(end, j.ready(b))
		held := 4 * float64(floats)
		r.Streams = 0
		for left := trainers; left > 1; left = (left + fanIn - 1) / fanIn {
			group := min(left, fanIn)
			piece := held / float64(group)
			others := float64(group - 1)
			end += 2 * (n.Latency + 2*others*n.handle(piece) + others*piece/n.Bandwidth)
			r.Messages += 4 * (group - 1)
			r.Bytes += 2 * others * piece
			r.Streams += group - 1
			held = piece
		}
	}
	return j.result(end, r)
}

// message is a chunk on its way: a partial to its owner, or the sum from it.
type message struct {
	from, to int32
	chunk    int32
	bytes    float64
}

// Direct is the all-reduce as it is (trainer/allreduce): a chunk goes to its owner from everybody, and its sum from the owner to everybody. One shard a trainer.
func Direct(trainers int, j Job, n Net) Result {
	s := &simulation{net: n, cpu: make([]float64, trainers), out: make([]float64, trainers), in: make([]float64, trainers), sent: make([]float64, trainers), messages: make([]int, trainers)}
	for b, floats := range j.Buckets {
		size := allreduce.ChunkFloats(floats, trainers, allreduce.DefaultChunkFloats)
		for index, at := 0, 0; at < floats; index, at = index+1, at+size {
			c := chunk{owner: int32(allreduce.Owner(uint32(b), uint32(index), trainers)), missing: trainers, bytes: 4 * float64(min(size, floats-at))}
			s.chunks = append(s.chunks, c)
			for from := range trainers {
				s.push(event{at: j.ready(b), kind: begin, m: message{int32(from), c.owner, int32(len(s.chunks) - 1), c.bytes}})
			}
		}
	}
	end := s.run()
	return j.result(end, Result{Messages: slices.Max(s.messages), Streams: trainers - 1, Bytes: slices.Max(s.sent)})
}

// DirectLarge is Direct at sizes whose messages are too many to follow one by one: each bucket takes what the busiest trainer's core or link needs for it, and two latencies.
func DirectLarge(trainers int, j Job, n Net) Result {
	r := Result{Streams: trainers - 1}
	end := 0.0
	for b, floats := range j.Buckets {
		size := allreduce.ChunkFloats(floats, trainers, allreduce.DefaultChunkFloats)
		chunks := (floats + size - 1) / size
		owned := (chunks + trainers - 1) / trainers
		// The busiest one owns some: it gets a partial from everybody and sends the sum to everybody, and has the others' chunks to send and to get.
		each := owned*(trainers-1) + chunks - owned
		bytes := 4 * float64(size)
		end = max(end, j.ready(b)) + max(2*float64(each)*n.handle(bytes), float64(each)*bytes/n.Bandwidth) + 2*n.Latency
		r.Messages += 2 * each
		r.Bytes += float64(each) * bytes
	}
	return j.result(end, r)
}

// chunk gathers its partials.
type chunk struct {
	owner   int32
	missing int
	bytes   float64
}

type simulation struct {
	net          Net
	chunks       []chunk
	cpu, out, in []float64 // by trainer: when its core and the two directions of its link are free
	sent         []float64 // bytes, by trainer
	messages     []int     // by trainer
	queue        []event   // a heap by time
	order        uint64
}

// Stages of a message.
const (
	begin = iota
	leave
	arrive
	taken
)

type event struct {
	at    float64
	order uint64 // of events at one time: first come, first served
	kind  int
	m     message
}

// run goes through the events, and gives the time of the last.
func (s *simulation) run() (end float64) {
	for len(s.queue) > 0 {
		e := s.pop()
		m, n := e.m, s.net
		next := e
		switch e.kind {
		case begin:
			if m.from == m.to {
				next.kind = taken
				break
			}
			s.cpu[m.from] = max(e.at, s.cpu[m.from]) + n.handle(m.bytes)
			next.at, next.kind = s.cpu[m.from], leave
		case leave:
			at := max(e.at, s.out[m.from])
			s.out[m.from] = at + m.bytes/n.Bandwidth
			s.sent[m.from] += m.bytes
			s.messages[m.from]++
			next.at, next.kind = at+n.Latency, arrive
		case arrive:
			s.in[m.to] = max(e.at, s.in[m.to]) + m.bytes/n.Bandwidth
			s.cpu[m.to] = max(s.in[m.to], s.cpu[m.to]) + n.handle(m.bytes)
			s.messages[m.to]++
			next.at, next.kind = s.cpu[m.to], taken
		case taken:
			end = max(end, e.at)
			s.take(e)
			continue
		}
		s.push(next)
	}
	return end
}

// take hands a message to whom it came: the last partial of a chunk sends the sum to everybody.
func (s *simulation) take(e event) {
	c := &s.chunks[e.m.chunk]
	if e.m.to != c.owner || c.missing == 0 {
		return
	}
	if c.missing--; c.missing > 0 {
		return
	}
	for to := range s.cpu {
		if int32(to) != c.owner {
			s.push(event{at: e.at, kind: begin, m: message{c.owner, int32(to), e.m.chunk, c.bytes}})
		}
	}
}

func (a event) before(b event) bool {
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.order, b.order)) < 0
}

func (s *simulation) push(e event) {
	s.order++
	e.order = s.order
	q := append(s.queue, e)
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if !q[i].before(q[up]) {
			break
		}
		q[i], q[up] = q[up], q[i]
		i = up
	}
	s.queue = q
}

func (s *simulation) pop() event {
	q := s.queue
	top, last := q[0], len(q)-1
	q[0] = q[last]
	q = q[:last]
	for i := 0; ; {
		least := i
		for _, down := range []int{2*i + 1, 2*i + 2} {
			if down < last && q[down].before(q[least]) {
				least = down
			}
		}
		if least == i {
			break
		}
		q[i], q[least] = q[least], q[i]
		i = least
	}
	s.queue = q
	return top
}
