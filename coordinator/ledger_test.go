package coordinator

import (
	"math"
	"strings"
	"testing"

	"github.com/dither-ml/dither/coordinator/quorum"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func twoSeats() *ledger {
	return newLedger(&quorum.Generation{Number: 1, After: 5, Seats: []quorum.Seat{
		{Member: quorum.Member{ID: "a"}, Range: quorum.Range{First: 0, End: 1}},
		{Member: quorum.Member{ID: "b"}, Range: quorum.Range{First: 1, End: 3}}}})
}

func TestLedger(t *testing.T) {
	l := twoSeats()
	rec := func(rank int, k uint32) *ditherv1.IterationRecord {
		return &ditherv1.IterationRecord{Iteration: k, Loss: math.NaN(), FirstShard: uint32(rank), EndShard: uint32(1 + 2*rank), Seconds: float64(2 - rank)}
	}
	if l.applied != 5 {
		t.Errorf("applied %d before anything was", l.applied)
	}
	for k := uint32(6); k <= 8; k++ {
		if w, err := l.add(1, rec(1, k)); w != nil || err != nil || l.applied != 5 {
			t.Fatalf("%v, %v, applied %d: that counts when the trainer of shard 0 has it", w, err, l.applied)
		}
	}
	for k := uint32(6); k <= 8; k++ {
		w, err := l.add(0, rec(0, k))
		if err != nil || w == nil || l.applied != k {
			t.Fatalf("%v, %v, applied %d", w, err, l.applied)
		}
		if w.record.GetSeconds() != 2 || w.record.GetEndShard() != 1 || w.labels != "" {
			t.Errorf("iteration %d is %+v", k, w)
		}
	}
	if len(l.pending) != 0 {
		t.Errorf("%d iterations are kept", len(l.pending))
	}
	bad := rec(0, 9)
	bad.LabelDigests = []string{"short"}
	other := rec(1, 9)
	other.LabelDigests = []string{"0123456789abcdef", "0123456789abcdef"}
	if _, err := l.add(1, other); err != nil {
		t.Fatal(err)
	}
	if _, err := l.add(0, bad); err == nil || !strings.Contains(err.Error(), `"short" at iteration 9 has 5 digits`) {
		t.Errorf("%v", err)
	}
}

func TestALedgerHasAnEnd(t *testing.T) {
	l := twoSeats()
	for k := uint32(6); ; k++ {
		_, err := l.add(0, &ditherv1.IterationRecord{Iteration: k, EndShard: 1})
		if err != nil {
			if k != 6+mostPending || !strings.Contains(err.Error(), "trainer a is 4096 iterations ahead") {
				t.Errorf("at %d: %v", k, err)
			}
			return
		}
	}
}

func TestPartsThatMakeNoSense(t *testing.T) {
	f64 := func(n int, shape ...int64) *ditherv1.Tensor {
		return ditherv1.Float64Tensor(make([]float64, n), shape...)
	}
	test := ditherv1.PartKind_PART_KIND_TEST
	for name, c := range map[string]struct {
		part *ditherv1.Part
		word string
	}{
		"no kind":          {&ditherv1.Part{Total: 1, Values: f64(2, 1, 2)}, "of kind PART_KIND_UNSPECIFIED"},
		"no numbers":       {&ditherv1.Part{Kind: test, Total: 1}, "has shape []"},
		"beyond the end":   {&ditherv1.Part{Kind: test, First: 3, Total: 4, Values: f64(4, 2, 2)}, "from image 3 of 4"},
		"one column":       {&ditherv1.Part{Kind: test, Total: 2, Values: f64(2, 2)}, "has 16 bytes for 2 images"},
		"less than nobody": {&ditherv1.Part{Kind: test, Total: 2, Values: f64(0, -1, 2)}, "has shape [-1 2]"},
		"a huge promise":   {&ditherv1.Part{Kind: test, Total: 1 << 31, Values: f64(2, 1<<30, 2)}, "has 16 bytes for 1073741824 images"},
		"other numbers": {&ditherv1.Part{Kind: test, Total: 1, Values: &ditherv1.Tensor{Dtype: ditherv1.ElementType_ELEMENT_TYPE_I64, Shape: []int64{1, 2}, Data: make([]byte, 16)}},
			"ELEMENT_TYPE_I64"},
	} {
		if e, err := (evaluations{}).add(c.part); e != nil || err == nil || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v, %v, without %q", name, e, err, c.word)
		}
	}
	es := evaluations{}
	if _, err := es.add(&ditherv1.Part{Kind: test, Total: 4, Values: f64(4, 2, 2)}); err != nil {
		t.Fatal(err)
	}
	if _, err := es.add(&ditherv1.Part{Kind: test, First: 2, Total: 5, Values: f64(4, 2, 2)}); err == nil || !strings.Contains(err.Error(), "over 4 images and 5 images") {
		t.Errorf("%v", err)
	}
	if _, err := es.add(&ditherv1.Part{Kind: test, First: 2, Total: 4, Values: f64(0, 0, 2)}); err != nil { // a trainer with nothing to do
		t.Error(err)
	}
	if e, err := es.add(&ditherv1.Part{Kind: test, First: 2, Total: 4, Values: f64(4, 2, 2)}); err != nil || e.GetImages() != 4 || len(es) != 0 {
		t.Errorf("%v, %v, %d left", e, err, len(es))
	}
}
