package trainer

import (
	"fmt"
	"testing"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func TestNext(t *testing.T) {
	me := &ditherv1.Member{Id: "b", Process: "host:2"}
	with := func(number uint64, planned bool, names ...string) *ditherv1.Generation {
		g := &ditherv1.Generation{Number: number, Planned: planned}
		for _, n := range names {
			g.Trainers = append(g.Trainers, &ditherv1.Member{Id: n[:1], Process: "host:" + n[1:]})
		}
		return g
	}
	over := &ditherv1.ReportResponse{Over: true}
	for _, c := range []struct {
		n       told
		entered uint64
		said    bool
		want    step
	}{
		{told{}, 0, false, stepWait},
		{told{generation: with(1, false, "a1", "b2")}, 0, false, stepEnter},
		{told{generation: with(1, false, "a1", "b2")}, 1, false, stepWait},
		{told{generation: with(1, false, "a1", "b7")}, 0, false, stepFollow}, // an earlier process had the id
		{told{generation: with(2, true, "a1")}, 1, false, stepFollow},
		{told{generation: with(2, true, "a1")}, 1, true, stepWait},
		{told{generation: with(2, false, "b2")}, 1, true, stepEnter}, // to say it again
		{told{generation: with(2, false, "a1", "b2"), outcast: true}, 1, false, stepJoin},
		{told{generation: with(2, false, "a1", "b2"), over: over}, 1, false, stepEnd},
		{told{generation: with(2, false, "a1"), leaving: "x"}, 1, false, stepEnd},
		{told{generation: with(2, false, "a1", "b2"), leaving: "x"}, 1, false, stepEnter}, // the others cannot do without yet
		{told{generation: with(1, false, "a1", "b2"), leaving: "x"}, 1, true, stepWait},
		{told{generation: with(1, false, "a1", "b2"), leaving: "x", expired: true}, 1, true, stepEnd},
		{told{leaving: "x", outcast: true}, 1, false, stepEnd},
	} {
		if got, err := next(c.n, me, c.entered, c.said); got != c.want || (err != nil) != (got == stepEnd) {
			t.Errorf("told %+v, after generation %d: step %d (%v), want %d", c.n, c.entered, got, err, c.want)
		}
	}
	for what, c := range map[string]struct {
		n                told
		hurries, follows bool
	}{
		"nothing new":             {told{generation: with(3, false, "b2")}, false, false},
		"a planned successor":     {told{generation: with(4, true, "b2")}, false, true},
		"one that is not":         {told{generation: with(4, false, "b2")}, true, true},
		"a planned one after it":  {told{generation: with(5, true, "b2")}, true, true},
		"the run's end":           {told{generation: with(3, false, "b2"), over: over}, true, true},
		"a dismissal as asked":    {told{generation: with(3, false, "b2"), over: over, leaving: "x"}, false, true},
		"a lost lease":            {told{generation: with(3, false, "b2"), outcast: true}, true, true},
		"a grace that is over":    {told{generation: with(3, false, "b2"), leaving: "x", expired: true}, true, true},
		"that it is asked to go":  {told{generation: with(3, false, "b2"), leaving: "x"}, false, false},
		"that the run is to stop": {told{generation: with(3, false, "b2"), stop: "x"}, false, false},
	} {
		if h, s := c.n.hurries(3) != nil, c.n.supersedes(3) != nil; h != c.hurries || s != c.follows {
			t.Errorf("%s cuts an iteration short: %v, begins no other: %v", what, h, s)
		}
	}
}

// sends are the words for all that an outbox has to send.
func sends(o *outbox) (all []string) {
	for {
		r := o.next(func() *ditherv1.Beat { return &ditherv1.Beat{Iteration: 99} })
		switch {
		case r == nil:
			return all
		case r.GetBeat() != nil:
			all = append(all, "beat")
		case r.GetIteration() != nil:
			all = append(all, fmt.Sprint(r.GetIteration().GetIteration()))
		case r.GetPart() != nil:
			all = append(all, fmt.Sprint("part after ", r.GetPart().GetIteration()))
		case r.GetFinished() != nil:
			all = append(all, "finished")
		default:
			all = append(all, "other")
		}
	}
}

func TestOutbox(t *testing.T) {
	o := &outbox{}
	expect := func(what string, want ...string) {
		t.Helper()
		if got := fmt.Sprint(sends(o)); got != fmt.Sprint(want) {
			t.Errorf("%s: sent %v, want %v", what, got, want)
		}
	}
	record := func(ks ...uint32) {
		for _, k := range ks {
			o.record(&ditherv1.IterationRecord{Iteration: k})
		}
	}
	o.connected()
	o.generation(true)
	record(1, 2)
	o.beat = true
	expect("before the hello is answered", "beat")
	o.hello(1)
	expect("the coordinator has 1", "2")
	record(3)
	expect("as first rank", "3")
	o.generation(false)
	record(4, 5)
	expect("as another rank")
	o.connected()
	record(6)
	o.hello(4)
	expect("the next coordinator has 4", "5", "6")
	o.part(&ditherv1.Part{Iteration: 6})
	o.finished = letterOf(&ditherv1.ReportRequest{Record: &ditherv1.ReportRequest_Finished{Finished: &ditherv1.Finished{}}})
	expect("what was computed goes before the last word", "part after 6", "finished")
	record(7)
	if !o.told() {
		t.Error("a record of another rank's is to be sent")
	}
	o.generation(false)
	if o.told() {
		t.Error("the record that the first rank may have kept is not to be sent")
	}
	expect("the first rank may be lost, and its generation's last word is void", "7")
	o.connected()
	o.hello(7)
	expect("another coordinator", "part after 6")
	for k := range uint32(2 * keptParts) {
		o.part(&ditherv1.Part{Iteration: k})
	}
	if len(o.parts) != keptParts {
		t.Errorf("%d parts are kept", len(o.parts))
	}
	// A bounded ring, that begins anew where there is a gap.
	for k := range uint32(3 * keptRecords) {
		record(8 + k)
	}
	if n := len(o.records.all); n != keptRecords || o.records.last() != 7+3*keptRecords || o.records.after(0).GetIteration() != 8+2*keptRecords {
		t.Errorf("%d records are kept, from %d to %d", n, o.records.after(0).GetIteration(), o.records.last())
	}
	record(50000)
	if len(o.records.all) != 1 {
		t.Errorf("%d records are kept over a gap", len(o.records.all))
	}
}
