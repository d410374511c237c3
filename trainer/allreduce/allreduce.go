// Package allreduce adds up the gradients of all shards over the trainers of a generation: every trainer ends with the same sum, and its bits do not depend on how
// many trainers there are.
//
// # The order of a sum
//
// Float addition is not associative, so the order is fixed: a binary tree over the S shards, whose node over [a, b) splits where kernel.Split says. The tree is over
// shard index and never over trainers. A trainer owns a Range of shards, and the maximal complete Subtrees in it are what it can add up alone. The subtrees of all
// trainers together cut the tree once between its root and every leaf; what is left above the cut is added by whoever has all of them. A node's sum is always its left
// child's plus its right child's, wherever and whenever that is done, so the bits are those of one machine adding the S shards up in that order.
//
// # The routing
//
// Only the order is a tree. A bucket of n floats is cut into chunks, one for each trainer where that leaves them neither too small nor too large (ChunkFloats); chunk c of bucket b has an
// owner, rank (b + c) mod T, so that small buckets have owners in turn (Owner). For each chunk:
//
//  1. Every trainer adds up each of its subtrees over the chunk and sends that partial sum to the owner.
//  2. The owner puts each partial into the chunk's assembly, in whatever order they arrive. As soon as both children of a node are there, they are added.
//  3. Once the root is there, the owner sends the sum to every other trainer.
//
// Chunks do not wait for each other: while one is being sent, the next is added up and the one before comes back, and every trainer owns as many as any other.
//
// # What it costs
//
// With one subtree a trainer, each sends n(T-1)/T floats of partials and n(T-1)/T of sums, and receives as many: 2n(T-1)/T, which is the least that any all-reduce can do
// and what a ring does; but in 2 rounds of messages where a ring takes 2(T-1). A trainer whose range is m subtrees sends m times the partials; m < 2 log2(S)+1, and is
// 1 where the ranges are equal and their length is a power of two. Each float is added S-1 times over all trainers together.
//
// Between trainers on one host no float travels: each has a segment of memory that the others have open (package wire), makes its partials and sums there, and sends frames that only say
// in which slot they lie. Per float a trainer then writes (T-1)/T partials once, where their reader finds them, adds up 1/T of the sums, and copies each sum once, in Wait.
// A partial that is a single shard of one's own is not copied even once, but read where the shard lies. Elsewhere, or when the segment is full, the numbers are in the frame: two copies through
// the kernel and one out of HTTP/2 frames into a pooled buffer. The order of additions, and so the bits, know nothing of the route.
//
// One trainer alone has a single subtree, the tree: it owns every chunk, and there is no I/O.
//
// # Who waits for whom
//
// Start hands a bucket to the worker, a goroutine that makes the partials of one bucket after another. Each peer has a lane: a queue of chunks to send, a goroutine that
// sends them and another that receives. The worker waits while a lane has lanePartials of its partials queued, so a slow peer holds up the making of partials and not
// memory (to a peer that takes nothing at all, until its window, or the segment, is full). A receiver never waits for a sender (two trainers could then wait for each other): a sum that it completes is queued whatever the queue's length, which the
// chunks that a bucket has bound. A peer can be one iteration ahead, never two, because no iteration ends without our partials; its early chunks go into their
// assemblies like any others.
//
// # Who is alive
//
// A lane that has sent nothing for a quarter of Options.Silence sends a beat, a chunk without numbers, between iterations too; a peer from whom nothing came for a whole silence is lost.
// Beats go the way of the chunks and a receiver never waits, so a peer that is slow to take is not taken for dead: what it has to say still comes. So the Reducer is made as
// soon as Connect returns, and not when the first iteration begins.
//
// # When something breaks
//
// The first failure is final: every Wait returns it at once (but for an addition that reads the shards now), the streams are broken with it as the reason, and the generation is over for this
// Reducer. A peer that closes in good order has no more to send or to get; it is lost only to a Wait that still needs it. Every generation has new streams and a new segment, so nothing of an old one
// can come into the next; a segment has no name and goes with the last process that has it open.
//
// # Who owns a buffer
//
// A wire.Buffer's references are counted. Whoever gets one (from Get, Recv or Borrow) releases it once or hands it on: Send, a lane, an assembly and gather take it over, whether they succeed or not.
// A buffer that was received or borrowed is not written to. A slot of a segment is free once its owner and every peer that it was sent to have released it; peers count that down in the segment
// itself, so nobody is told. Abort and Close release what assemblies still hold.
package allreduce

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrPeerLost is what an error wraps when a peer died, closed or could not be reached; the error names its rank and address.
	ErrPeerLost = errors.New("peer lost")
	// ErrRefused is what an error wraps when a message does not belong where it came: another run, spec, generation or iteration, or numbers that were not asked for.
	ErrRefused = errors.New("message refused")
	// ErrClosed is what Wait and a Transport return after Close.
	ErrClosed = errors.New("all-reduce closed")
)

// Group is who owns which shards in a generation.
type Group struct {
	Rank   int     // of this trainer
	Ranges []Range // by rank; none empty, each beginning where the one before ends, from 0 to S
}

// Options of a Reducer. They must be the same on every trainer.
type Options struct {
	ChunkFloats int           // floats of a chunk, at most MaxChunkFloats; 0: DefaultChunkFloats
	Silence     time.Duration // a peer from whom nothing came for so long is lost; 0: DefaultSilence
}

// DefaultSilence is long beside the time that a process of a loaded machine waits for a processor, and short beside what a generation costs.
const DefaultSilence = 2 * time.Second

// Owner is the rank that adds up a chunk of a bucket.
func Owner(bucket, index uint32, trainers int) int {
	return int((bucket + index) % uint32(trainers))
}

// ChunkFloats is how many floats the chunks of a bucket have: a trainer's equal part, at most `most`, and no less than 32 KiB (or most) so that a message is worth its cost.
func ChunkFloats(floats, trainers, most int) int {
	const least = 8 << 10
	return min(most, max(least, (floats+trainers-1)/trainers))
}

// DefaultChunkFloats is 256 KiB: large enough that a message's cost is small beside its bytes', small enough that chunks overlap.
const DefaultChunkFloats = 64 << 10

// MaxChunkFloats is what a message has room for, with its header.
const MaxChunkFloats = maxMessageBytes / 8

func (g Group) check() {
	if g.Rank < 0 || g.Rank >= len(g.Ranges) {
		panic(fmt.Sprintf("allreduce: rank %d of %d trainers", g.Rank, len(g.Ranges)))
	}
	first := 0
	for rank, r := range g.Ranges {
		if r.First != first || r.End <= r.First {
			panic(fmt.Sprintf("allreduce: rank %d owns shards %v; it must begin at %d and not be empty", rank, r, first))
		}
		first = r.End
	}
}
