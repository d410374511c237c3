package allreduce

import (
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce/wire"
)

// gather puts a partial sum from a trainer, oneself or a peer, into its chunk's assembly, and takes over its reference. When that makes the sum whole, it goes to everyone.
func (r *Reducer) gather(from int, c wire.Chunk) error {
	shards, data := Range{int(c.First), int(c.End)}, c.Data
	id := chunkID{c.Iteration, c.Bucket, c.Index}
	at, ok := r.tree.leaves[shards]
	if !ok || r.tree.nodes[at].rank != from {
		data.Release()
		return r.refuse(from, "shards %v of %v are none of its subtrees %v", shards, id, Subtrees(r.group.Ranges[from], r.tree.nodes[0].shards.End))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.admit(id); err != nil || r.err != nil {
		data.Release()
		return err
	}
	a := r.assembly(id)
	if a.seen[at] {
		data.Release()
		if r.stale {
			return nil
		}
		return r.refuse(from, "shards %v of %v came twice", shards, id)
	}
	a.seen[at] = true
	for {
		left, right, parent := a.put(&r.tree, at, data)
		if left == nil {
			break
		}
		if left.Len() != right.Len() {
			here, there := left.Len(), right.Len()
			left.Release()
			right.Release()
			return r.refuse(from, "%v has %d floats on one trainer and %d on another", id, here, there)
		}
		r.adding++
		r.mu.Unlock()
		sum := r.join(left, right)
		r.mu.Lock()
		r.adding--
		if r.err != nil {
			sum.Release()
			r.progress.Broadcast()
			return nil
		}
		at, data = parent, sum
	}
	if a.sum != nil {
		r.spread(id, a.sum)
	}
	return nil
}

// spread sends a whole sum to every peer. It holds r.mu.
func (r *Reducer) spread(id chunkID, sum *wire.Buffer) {
	if peers := len(r.lanes) - 1; peers > 0 {
		sum.Retain(peers)
		for _, l := range r.lanes {
			if l != nil {
				l.post(wire.Chunk{Iteration: id.iteration, Kind: ditherv1.ChunkKind_CHUNK_KIND_SUM, Bucket: id.bucket, Index: id.index, Data: sum})
			}
		}
	}
	r.progress.Broadcast()
}

// join is left + right, in the memory of one of them if it may be written.
func (r *Reducer) join(left, right *wire.Buffer) (sum *wire.Buffer) {
	switch {
	case !left.Fixed():
		add(left.Writable(), left.Floats(), right.Floats())
		right.Release()
		return left
	case !right.Fixed():
		add(right.Writable(), left.Floats(), right.Floats())
		left.Release()
		return right
	}
	sum = r.get(left.Len())
	add(sum.Writable(), left.Floats(), right.Floats())
	left.Release()
	right.Release()
	return sum
}

// finish takes a whole sum from its owner, and its reference.
func (r *Reducer) finish(from int, c wire.Chunk) error {
	id := chunkID{c.Iteration, c.Bucket, c.Index}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.admit(id); err != nil || r.err != nil {
		c.Data.Release()
		return err
	}
	a := r.assembly(id)
	if a.sum != nil {
		c.Data.Release()
		if r.stale {
			return nil
		}
		return r.refuse(from, "the sum of %v came twice", id)
	}
	a.sum = c.Data
	r.progress.Broadcast()
	return nil
}
