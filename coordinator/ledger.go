package coordinator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/dither-ml/dither/coordinator/quorum"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// mostPending is how far one trainer's records may run ahead of another's. In training they are within one iteration; the rest is the network's delay.
const mostPending = 4096

// ledger puts the trainers' records of each iteration together. It holds only iterations that some trainer has yet to report.
type ledger struct {
	seats   []quorum.Seat
	last    []uint32            // last iteration that each rank reported
	pending map[uint32]*pending // by iteration
	applied uint32              // last iteration that the trainer of shard 0 reported
}

// pending is an iteration that not every trainer has reported.
type pending struct {
	records []*ditherv1.IterationRecord // by rank; nil: not yet
	missing int
}

// wholeIteration is an iteration that every trainer has reported.
type wholeIteration struct {
	// record has in its trainer-specific fields those of the slowest trainer.
	record *ditherv1.IterationRecord
	// labels is the sha256 (hex) of the shards' label digests, as text, one after another in shard order: it says that a redo had the same noisy
	// soft labels, whoever computed which shard. Empty where nobody has soft labels.
	labels string
}

func newLedger(g *quorum.Generation) *ledger {
	l := &ledger{seats: g.Seats, last: make([]uint32, len(g.Seats)), pending: map[uint32]*pending{}, applied: g.After}
	for rank := range l.last {
		l.last[rank] = g.After
	}
	return l
}

// add takes a record of the trainer of that rank, and gives the iteration if it is whole now. An error says who disagrees about what.
func (l *ledger) add(rank int, r *ditherv1.IterationRecord) (*wholeIteration, error) {
	seat, k := l.seats[rank], r.GetIteration()
	if k != l.last[rank]+1 {
		return nil, fmt.Errorf("trainer %v reported iteration %d where iteration %d is due", seat.Member, k, l.last[rank]+1)
	}
	if int(r.GetFirstShard()) != seat.First || int(r.GetEndShard()) != seat.End {
		return nil, fmt.Errorf("trainer %v computed shards [%d,%d) of iteration %d, and [%d,%d) are its own", seat.Member, r.GetFirstShard(), r.GetEndShard(), k, seat.First, seat.End)
	}
	if n := len(r.GetLabelDigests()); n != 0 && n != seat.End-seat.First {
		return nil, fmt.Errorf("trainer %v has %d label digests for its %d shards of iteration %d", seat.Member, n, seat.End-seat.First, k)
	}
	p := l.pending[k]
	if p == nil {
		if len(l.pending) >= mostPending {
			return nil, fmt.Errorf("trainer %v is %d iterations ahead of another", seat.Member, mostPending)
		}
		p = &pending{records: make([]*ditherv1.IterationRecord, len(l.seats)), missing: len(l.seats)}
		l.pending[k] = p
	}
	for other, q := range p.records {
		if q == nil {
			continue
		}
		lower, higher := rank, other
		one, two := r, q
		if other < rank { // named by rank, whoever came first
			lower, higher, one, two = other, rank, q, r
		}
		if what := difference(one, two); what != "" {
			return nil, fmt.Errorf("the trainers disagree at iteration %d: %s (%v and %v)", k, what, l.seats[lower].Member, l.seats[higher].Member)
		}
		break // those that came before agree with each other
	}
	l.last[rank] = k
	if rank == 0 { // ranks are in the order of their shards
		l.applied = k
	}
	p.records[rank] = r
	if p.missing--; p.missing > 0 {
		return nil, nil
	}
	delete(l.pending, k)
	return p.whole(k)
}

// difference names what two trainers' records of one iteration disagree about; NaN agrees with NaN of the same bits.
func difference(a, b *ditherv1.IterationRecord) string {
	switch {
	case math.Float64bits(a.GetLoss()) != math.Float64bits(b.GetLoss()):
		return fmt.Sprintf("the loss is %v and %v", a.GetLoss(), b.GetLoss())
	case a.GetCorrect() != b.GetCorrect():
		return fmt.Sprintf("%d and %d samples were right", a.GetCorrect(), b.GetCorrect())
	case math.Float64bits(a.GetLr()) != math.Float64bits(b.GetLr()):
		return fmt.Sprintf("the learning rate is %v and %v", a.GetLr(), b.GetLr())
	case (len(a.GetLabelDigests()) == 0) != (len(b.GetLabelDigests()) == 0):
		return "one had soft labels, one had none"
	}
	return ""
}

func (p *pending) whole(k uint32) (*wholeIteration, error) {
	slowest := p.records[0]
	var digests strings.Builder
	for _, r := range p.records {
		if r.GetSeconds() > slowest.GetSeconds() {
			slowest = r
		}
		for _, d := range r.GetLabelDigests() {
			if len(d) != 16 {
				return nil, fmt.Errorf("the label digest %q at iteration %d has %d digits, not 16", d, k, len(d))
			}
			digests.WriteString(d)
		}
	}
	w := &wholeIteration{record: proto.CloneOf(slowest)}
	if digests.Len() > 0 {
		sum := sha256.Sum256([]byte(digests.String()))
		w.labels = hex.EncodeToString(sum[:])
	}
	return w, nil
}
