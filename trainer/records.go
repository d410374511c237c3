package trainer

import ditherv1 "github.com/dither-ml/dither/proto/dither/v1"

// keptRecords bounds the records of the last iterations that are kept for a coordinator that lacks them.
const keptRecords = 1024

// records are those of the last iterations. Invariant: consecutive, and at most keptRecords.
type records struct {
	all []*ditherv1.IterationRecord
}

// add takes the record of the newest iteration; one that does not follow begins anew.
func (r *records) add(v *ditherv1.IterationRecord) {
	if n := len(r.all); n > 0 && r.all[n-1].GetIteration()+1 != v.GetIteration() {
		r.all = nil
	}
	if len(r.all) == keptRecords {
		copy(r.all, r.all[1:])
		r.all = r.all[:keptRecords-1]
	}
	r.all = append(r.all, v)
}

// last is the newest iteration that has a record; 0: none.
func (r *records) last() uint32 {
	if len(r.all) == 0 {
		return 0
	}
	return r.all[len(r.all)-1].GetIteration()
}

// after is the oldest record of an iteration later than k; nil: there is none.
func (r *records) after(k uint32) *ditherv1.IterationRecord {
	if len(r.all) == 0 || k >= r.last() {
		return nil
	}
	first := r.all[0].GetIteration()
	return r.all[max(k+1, first)-first]
}
