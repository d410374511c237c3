package trainer

import (
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// keptParts bounds the parts of evaluations that are kept for a coordinator that lacks them: some five evaluations' worth.
const keptParts = 16

// letter is what is said once to every coordinator that leads.
type letter struct {
	request *ditherv1.ReportRequest
	sent    bool // to the present one
}

// outbox is what a trainer has to say, and how much of it the present coordinator was told. It decides; link sends.
type outbox struct {
	records  records
	sent     uint32 // iterations up to it are on record, or were sent
	due      uint32 // records up to it are to be sent; those after it are kept
	answered bool   // the hello was: sent is known
	first    bool   // this trainer has the first shard: each record is due at once
	beat     bool   // a beat is due

	parts    []*letter // of evaluations, oldest first
	aborted  *letter   // of the generation that broke last
	leaving  *letter
	finished *letter
	failure  *letter
}

// connected begins with another coordinator: it knows nothing.
func (o *outbox) connected() {
	o.answered, o.sent = false, 0
	for _, l := range o.letters() {
		l.sent = false
	}
}

// hello takes the answer to the hello. What the coordinator lacks is due, whoever has it.
func (o *outbox) hello(have uint32) {
	o.answered, o.sent = true, max(o.sent, have)
	o.due = o.records.last()
}

// record takes the record of an iteration.
func (o *outbox) record(v *ditherv1.IterationRecord) {
	o.records.add(v)
	if o.first {
		o.due = v.GetIteration()
	}
}

// generation begins one, in which this trainer has the first shard, or has not. What others may have kept from the coordinator with their deaths is due; words of the generation before are void.
func (o *outbox) generation(first bool) {
	o.first, o.due, o.aborted, o.finished = first, o.records.last(), nil, nil
}

func (o *outbox) part(p *ditherv1.Part) {
	if len(o.parts) == keptParts {
		o.parts = o.parts[1:]
	}
	o.parts = append(o.parts, &letter{request: &ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Part{Part: p}}})
}

// letters are those there are, in the order in which they are to be sent.
func (o *outbox) letters() []*letter {
	var all []*letter
	for _, l := range append(append([]*letter{o.aborted, o.leaving}, o.parts...), o.finished, o.failure) {
		if l != nil {
			all = append(all, l)
		}
	}
	return all
}

// next is what is to be sent now; nil: nothing. It counts as sent. Records go before what was said after them.
func (o *outbox) next(beat func() *ditherv1.Beat) *ditherv1.ReportRequest {
	if o.beat {
		o.beat = false
		return &ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Beat{Beat: beat()}}
	}
	if !o.answered {
		return nil
	}
	if r := o.records.after(o.sent); r != nil && r.GetIteration() <= o.due {
		o.sent = r.GetIteration()
		return &ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Iteration{Iteration: r}}
	}
	for _, l := range o.letters() {
		if !l.sent {
			l.sent = true
			return l.request
		}
	}
	return nil
}

// told says that the present coordinator was told all that it is to be told.
func (o *outbox) told() bool {
	if r := o.records.after(o.sent); !o.answered || r != nil && r.GetIteration() <= o.due {
		return false
	}
	for _, l := range o.letters() {
		if !l.sent {
			return false
		}
	}
	return true
}
