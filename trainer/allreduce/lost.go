package allreduce

import (
	"context"
	"errors"
	"fmt"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// lostError says which peer is not there any more. It wraps ErrPeerLost and its cause.
type lostError struct {
	rank    int
	address string
	unsure  bool // it may live: it said itself that its exchange is over, or its stream was cancelled, which looks the same as a death
	cause   error
}

func (e *lostError) Error() string {
	why := ditherv1.Message(e.cause)
	if why == context.Canceled.Error() {
		why = "its stream was cut"
	}
	return fmt.Sprintf("trainer of rank %d at %s: %v: %s", e.rank, e.address, ErrPeerLost, why)
}

func (e *lostError) Unwrap() []error { return []error{ErrPeerLost, e.cause} }

// lost is the error for a peer that died, fell silent or was not reached.
func lost(rank int, address string, cause error) error {
	return &lostError{rank: rank, address: address, cause: cause}
}

// left is the error for a peer that ended its exchange itself, or may have.
func left(rank int, address string, cause error) error {
	return &lostError{rank: rank, address: address, unsure: true, cause: cause}
}

// LostRank gives the rank of the peer that, as an error of Connect or Wait says, died, fell silent or was not reached. A peer that ended the exchange and said so lives:
// its reason is in the error, and ok is false. So it is where a stream that the peer opened was cancelled: by its death, or because it lost another.
func LostRank(err error) (rank int, ok bool) {
	var e *lostError
	if errors.As(err, &e) && !e.unsure {
		return e.rank, true
	}
	return -1, false
}
