package coordinator

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const (
	// keptRecords is how many iterations a record is kept of, to hold those against it that come again. Trainers keep as many.
	keptRecords = 1024
	// keptBegun is of how many iterations that were begun and not ended the labels' digests are kept.
	keptBegun = 8
)

// errMalformed is for a record that makes no sense by itself.
var errMalformed = errors.New("a record that makes no sense")

// ledger puts the trainers' records in order, and holds those that come again against the first.
type ledger struct {
	shards, iterations int
	have               uint32            // last iteration on record
	kept               map[uint32]*entry // the last of those on record
	pending            map[uint32]*entry // later ones: somebody has those between
	tries              map[uint32][]try  // by iteration, [S]: labels of iterations that were begun
}

// entry is an iteration's record.
type entry struct {
	record  *ditherv1.IterationRecord
	from    string // who reported it, in words
	labels  string // labelsSHA256 of its digests
	skipped uint32 // iterations before it that nobody has a record of
}

// try is the digest of a shard's labels, of an iteration that was begun.
type try struct{ digest, from string }

func newLedger(shards int, iterations uint32, kept []*entry, have uint32) *ledger {
	l := &ledger{shards: shards, iterations: int(iterations), have: have, kept: map[uint32]*entry{}, pending: map[uint32]*entry{}, tries: map[uint32][]try{}}
	for _, e := range kept {
		if k := e.record.GetIteration(); k <= have {
			l.kept[k] = e
		}
	}
	return l
}

// add takes a record, and gives those that are to be recorded now, in order. An error says who disagrees about what, or wraps errMalformed.
func (l *ledger) add(from string, r *ditherv1.IterationRecord) ([]*entry, error) {
	k := r.GetIteration()
	if err := l.check(from, r); err != nil {
		return nil, err
	}
	e := &entry{record: r, from: from, labels: labelsSHA256(r.GetLabelDigests())}
	if first := l.entry(k); first != nil {
		return nil, difference(first, e)
	}
	if k <= l.have { // older than what is kept
		return nil, nil
	}
	for shard, t := range l.tries[k] {
		if t.digest != "" && len(r.GetLabelDigests()) > 0 && t.digest != r.GetLabelDigests()[shard] {
			return nil, otherLabels(k, shard, t.from, t.digest, from, r.GetLabelDigests()[shard])
		}
	}
	l.pending[k] = e
	fresh := l.drain()
	if len(l.pending) >= keptRecords { // no trainer keeps those that are missing any more
		fresh = append(fresh, l.skip()...)
	}
	return fresh, nil
}

func (l *ledger) entry(k uint32) *entry { return cmp.Or(l.kept[k], l.pending[k]) }

// drain takes what follows the last record.
func (l *ledger) drain() (fresh []*entry) {
	for e := l.pending[l.have+1]; e != nil; e = l.pending[l.have+1] {
		l.have++
		delete(l.pending, l.have)
		delete(l.kept, l.have-keptRecords)
		l.kept[l.have] = e
		fresh = append(fresh, e)
	}
	return fresh
}

// skip goes on after iterations that nobody has a record of.
func (l *ledger) skip() []*entry {
	if len(l.pending) == 0 {
		return nil
	}
	next := slices.Min(slices.Collect(maps.Keys(l.pending)))
	l.pending[next].skipped = next - l.have - 1
	l.have = next - 1
	maps.DeleteFunc(l.kept, func(k uint32, _ *entry) bool { return k+keptRecords <= l.have })
	return l.drain()
}

// rest gives all that is left, at the end.
func (l *ledger) rest() (fresh []*entry) {
	for len(l.pending) > 0 {
		fresh = append(fresh, l.skip()...)
	}
	return fresh
}

// check refuses a record that makes no sense.
func (l *ledger) check(from string, r *ditherv1.IterationRecord) error {
	k := r.GetIteration()
	switch n := len(r.GetLabelDigests()); {
	case k < 1 || int(k) > l.iterations:
		return fmt.Errorf("%w: trainer %s reported iteration %d of %d", errMalformed, from, k, l.iterations)
	case n != 0 && n != l.shards:
		return fmt.Errorf("%w: trainer %s has %d label digests for the %d shards of iteration %d", errMalformed, from, n, l.shards, k)
	case len(r.GetShardSeconds()) != 0 && len(r.GetShardSeconds()) != l.shards:
		return fmt.Errorf("%w: trainer %s has the seconds of %d shards of iteration %d, of %d", errMalformed, from, len(r.GetShardSeconds()), k, l.shards)
	}
	return wellFormed(from, k, r.GetLabelDigests())
}

func wellFormed(from string, k uint32, digests []string) error {
	for _, d := range digests {
		if len(d) != 16 {
			return fmt.Errorf("%w: the label digest %.32q of trainer %s at iteration %d has %d digits, not 16", errMalformed, d, from, k, len(d))
		}
	}
	return nil
}

// begun takes the labels' digests of an iteration that was begun and not ended: done again it must have the same.
func (l *ledger) begun(from string, m *ditherv1.Aborted) error {
	k, first, digests := m.GetIteration(), int(m.GetFirstShard()), m.GetLabelDigests()
	if len(digests) == 0 {
		return nil
	}
	if int(k) > l.iterations || first+len(digests) > l.shards {
		return fmt.Errorf("%w: trainer %s has digests of the shards from %d to %d of iteration %d: there are %d, and %d iterations", errMalformed, from, first, first+len(digests), k, l.shards, l.iterations)
	}
	if err := wellFormed(from, k, digests); err != nil {
		return err
	}
	e := l.entry(k)
	for i, d := range digests {
		if known := e.digest(first + i); known != "" && known != d {
			return otherLabels(k, first+i, e.from, known, from, d)
		}
		if t := l.try(k, first+i); t.digest == "" {
			*t = try{d, from}
		} else if t.digest != d {
			return otherLabels(k, first+i, t.from, t.digest, from, d)
		}
	}
	if ks := slices.Sorted(maps.Keys(l.tries)); len(ks) > keptBegun {
		delete(l.tries, ks[0])
	}
	return nil
}

func (l *ledger) try(k uint32, shard int) *try {
	if l.tries[k] == nil {
		l.tries[k] = make([]try, l.shards)
	}
	return &l.tries[k][shard]
}

// digest is that of a shard's labels; empty: not known.
func (e *entry) digest(shard int) string {
	if e == nil || len(e.record.GetLabelDigests()) == 0 {
		return ""
	}
	return e.record.GetLabelDigests()[shard]
}

// loss holds the loss that a trainer has seen at iteration k against the record.
func (l *ledger) loss(from string, k uint32, loss float64) error {
	if e := l.entry(k); e != nil && math.Float64bits(e.record.GetLoss()) != math.Float64bits(loss) {
		return disagreement(k, fmt.Sprintf("the loss is %v and %v", e.record.GetLoss(), loss), e.from, from)
	}
	return nil
}

// difference is what two records of one iteration disagree about; NaN agrees with NaN of the same bits.
func difference(first, again *entry) error {
	a, b, k := first.record, again.record, first.record.GetIteration()
	what := ""
	switch {
	case math.Float64bits(a.GetLoss()) != math.Float64bits(b.GetLoss()):
		what = fmt.Sprintf("the loss is %v and %v", a.GetLoss(), b.GetLoss())
	case a.GetCorrect() != b.GetCorrect():
		what = fmt.Sprintf("%d and %d samples were right", a.GetCorrect(), b.GetCorrect())
	case math.Float64bits(a.GetLr()) != math.Float64bits(b.GetLr()):
		what = fmt.Sprintf("the learning rate is %v and %v", a.GetLr(), b.GetLr())
	case (first.labels == "") != (again.labels == ""):
		what = "one had soft labels, one had none"
	}
	// Other labels give another loss: they are the cause, and said first.
	if first.labels != again.labels && first.labels != "" && again.labels != "" {
		for shard := range b.GetLabelDigests() {
			if d := first.digest(shard); d != "" && d != again.digest(shard) {
				return otherLabels(k, shard, first.from, d, again.from, again.digest(shard))
			}
		}
		return otherLabels(k, -1, first.from, first.labels, again.from, again.labels)
	}
	if what == "" {
		return nil
	}
	return disagreement(k, what, first.from, again.from)
}

func disagreement(k uint32, what, first, again string) error {
	return fmt.Errorf("the trainers disagree at iteration %d: %s (%s and %s); this is a defect of dither or of a machine: do not use the parameters, and report it", k, what, first, again)
}

func otherLabels(k uint32, shard int, first, was, again, is string) error {
	where := fmt.Sprintf("iteration %d, shard %d,", k, shard)
	if shard < 0 { // of a record that another coordinator made
		where = fmt.Sprintf("iteration %d", k)
	}
	return fmt.Errorf("the noisy soft labels of %s are not those of the first try (%.16s from %s, %.16s from %s): the teacher-logit service or the noise does not answer the same question in the same way; check it with `dither noise check`",
		where, was, first, is, again)
}

// labelsSHA256 is the sha256 (hex) of the shards' label digests, as text, one after another in shard order: it says that a redo had the same noisy
// soft labels, whoever computed which shard. Empty where there are none.
func labelsSHA256(digests []string) string {
	if len(digests) == 0 {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Join(digests, "")))
	return hex.EncodeToString(sum[:])
}
