package allreduce

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce/wire"
)

// lanePartials is how many partials wait in a lane before the worker does.
const lanePartials = 4

// lane is the way to and from one peer. Its fields are guarded by the reducer's mutex.
type lane struct {
	r        *Reducer
	rank     int
	ready    sync.Cond    // there is a chunk to send, or the reducer closes or failed
	queue    []wire.Chunk // to be sent; of them
	partials int          // are partials. Invariant: partials <= lanePartials
	sending  bool         // Send is going on
	idle     int          // ticks since something was sent
	beat     bool         // a beat is to be sent
	deaf     bool         // done with sending; or a send failed: what is posted is dropped, and what is received tells why

	silent atomic.Int32 // ticks since something came
}

func newLane(r *Reducer, rank int) *lane {
	l := &lane{r: r, rank: rank}
	l.ready.L = &r.mu
	return l
}

// post queues a chunk and takes over its reference.
func (l *lane) post(c wire.Chunk) {
	if l.deaf {
		c.Data.Release()
		return
	}
	l.queue = append(l.queue, c)
	if c.Kind == ditherv1.ChunkKind_CHUNK_KIND_PARTIAL {
		l.partials++
	}
	l.ready.Signal()
}

// send sends what is posted, and beats, until the reducer fails, or closes and all is sent.
func (l *lane) send() {
	r := l.r
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		for len(l.queue) == 0 && !l.beat && !l.deaf && r.err == nil && !r.sent {
			l.ready.Wait()
		}
		if l.deaf || r.err != nil || r.sent {
			break
		}
		c := l.next()
		l.idle, l.beat, l.sending = 0, false, true
		r.mu.Unlock()
		err := r.transport.Send(l.rank, c)
		r.mu.Lock()
		l.sending = false
		l.deaf = l.deaf || err != nil
		if c.Kind == ditherv1.ChunkKind_CHUNK_KIND_PARTIAL {
			l.partials--
			r.work.Signal()
		}
		if r.closing && len(l.queue) == 0 {
			r.progress.Broadcast()
		}
	}
	l.deaf = true
	for _, c := range l.queue {
		c.Data.Release()
	}
	l.queue, l.partials = nil, 0
	r.work.Signal()
	r.progress.Broadcast()
}

// next takes what is to be sent next.
func (l *lane) next() wire.Chunk {
	if len(l.queue) == 0 {
		return l.r.pulse()
	}
	c := l.queue[0]
	n := copy(l.queue, l.queue[1:]) // short, and so its memory stays
	l.queue = l.queue[:n]
	return c
}

// receive takes what comes from the peer until it closes, or the reducer does.
func (l *lane) receive() {
	r := l.r
	for {
		c, err := r.transport.Recv(l.rank)
		if errors.Is(err, io.EOF) {
			r.mu.Lock()
			r.departed[l.rank] = true
			r.progress.Broadcast()
			r.mu.Unlock()
			return
		}
		if err == nil {
			l.silent.Store(0)
			err = r.deliver(l.rank, c)
		}
		if err != nil {
			r.lose(err)
			return
		}
	}
}

// deliver sorts a chunk from a peer, and takes over its reference.
func (r *Reducer) deliver(from int, c wire.Chunk) error {
	owner := r.owner(c.Bucket, c.Index)
	if r.stale {
		c.Iteration = max(c.Iteration, r.now())
	}
	switch {
	case c.Kind == ditherv1.ChunkKind_CHUNK_KIND_BEAT && c.Data.Len() == 0:
		c.Data.Release()
		return nil
	case c.Kind == ditherv1.ChunkKind_CHUNK_KIND_PARTIAL && owner == r.group.Rank:
		return r.gather(from, c)
	case c.Kind == ditherv1.ChunkKind_CHUNK_KIND_SUM && owner == from:
		return r.finish(from, c)
	}
	c.Data.Release()
	return r.refuse(from, "%v of %v, whose owner is rank %d, came to rank %d", c.Kind, chunkID{c.Iteration, c.Bucket, c.Index}, owner, r.group.Rank)
}

// makePartials is the worker: it adds up the subtrees of one bucket after another.
func (r *Reducer) makePartials() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		for len(r.queue) == 0 && r.err == nil && !r.closing {
			r.work.Wait()
		}
		if len(r.queue) == 0 || r.err != nil {
			return
		}
		r.current = r.queue[0]
		n := copy(r.queue, r.queue[1:])
		r.queue = r.queue[:n]
		iteration := r.iteration
		r.mu.Unlock()
		if err := r.partialsOf(r.current, iteration); err != nil {
			r.fail(err)
		}
		r.mu.Lock()
		r.current = nil
		r.progress.Broadcast()
	}
}

// partialsOf makes the partials of a bucket and sends each to its chunk's owner. It stops where the reducer has failed.
func (r *Reducer) partialsOf(b *bucket, iteration uint32) error {
	own := r.group.Ranges[r.group.Rank]
	id, floats := b.id, b.floats
	size := ChunkFloats(floats, len(r.group.Ranges), r.chunkFloats)
	for index, at := uint32(0), 0; at < floats; index, at = index+1, at+size {
		owner := r.owner(id, index)
		for _, s := range r.subtrees {
			if !r.room(owner) {
				return nil
			}
			data := r.subtree(b.shards[s.First-own.First:s.End-own.First], at, min(size, floats-at), owner)
			c := wire.Chunk{Iteration: iteration, Kind: ditherv1.ChunkKind_CHUNK_KIND_PARTIAL, Bucket: id, Index: index, First: uint32(s.First), End: uint32(s.End), Data: data}
			if owner != r.group.Rank {
				r.mu.Lock()
				r.lanes[owner].post(c)
				r.mu.Unlock()
			} else if err := r.gather(owner, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// subtree is the sum over a subtree's shards of the elements [from, from+floats), for a chunk's owner. What stays here and is a single shard is not even copied: the shard is left alone until
// Wait returns, and by then it was read.
func (r *Reducer) subtree(shards [][]float32, from, floats, owner int) *wire.Buffer {
	if len(shards) == 1 && owner == r.group.Rank {
		return wire.Borrow(shards[0][from : from+floats : from+floats])
	}
	data := r.get(floats)
	r.adder.sum(data.Writable(), shards, from)
	return data
}

// room waits until a partial can be posted to a rank, and says whether the reducer goes on.
func (r *Reducer) room(owner int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := r.lanes[owner]; r.err == nil && l != nil && l.partials >= lanePartials; {
		r.work.Wait()
	}
	return r.err == nil
}
