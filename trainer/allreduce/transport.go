package allreduce

import (
	"fmt"
	"sync/atomic"

	"github.com/dither-ml/dither/trainer/allreduce/wire"
)

// Transport carries chunks between the trainers of one generation. Chunks from one trainer to another arrive once each, in the order in which they were sent;
// between different pairs there is no order.
//
// To each peer one goroutine sends and one receives at a time; a second one panics, as do a rank that is no peer and a chunk without Data.
type Transport interface {
	// Send sends a chunk and may wait until there is room. It takes over the caller's reference of c.Data, on failure too; the caller must not write to it any more.
	// An error wraps ErrPeerLost or ErrClosed; Recv from that peer then fails or ends likewise.
	Send(to int, c wire.Chunk) error
	// Recv gives the next chunk from a peer, whose Data's reference is the caller's. The numbers may be read by others too (see wire.Buffer). An error wraps
	// ErrPeerLost, ErrRefused or ErrClosed; io.EOF says that the peer has closed in good order and that everything it sent has been received.
	Recv(from int) (wire.Chunk, error)
	// Address is where a peer is, for people.
	Address(rank int) string
	// Close ends the exchange and lets every Send and Recv return. With a nil cause it does so in good order: what was sent is delivered first, for which Recv must go on
	// being called until it fails or ends, and no Send may be going on. With a cause it is immediate, and the peers are told the cause where the transport can. It may be called again, from anywhere.
	Close(cause error)
}

// turn is held by the one goroutine that may be in a call.
type turn struct{ taken atomic.Bool }

func (t *turn) take(what string, rank int) {
	if !t.taken.CompareAndSwap(false, true) {
		panic(fmt.Sprintf("allreduce: a second goroutine, in %s of rank %d", what, rank))
	}
}

func (t *turn) leave() { t.taken.Store(false) }

func checkPeer(rank, own, ranks int) {
	if rank == own || rank < 0 || rank >= ranks {
		panic(fmt.Sprintf("allreduce: rank %d is no peer of rank %d among %d", rank, own, ranks))
	}
}

func checkSend(rank, own, ranks int, c wire.Chunk) {
	checkPeer(rank, own, ranks)
	if c.Data == nil {
		panic("allreduce: a chunk without data")
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
