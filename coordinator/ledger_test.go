package coordinator

import (
	"errors"
	"math"
	"strings"
	"testing"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func rec(k uint32) *ditherv1.IterationRecord {
	return &ditherv1.IterationRecord{Iteration: k, Loss: math.NaN(), LabelDigests: digests(k)}
}

func numbers(es []*entry) (ks []uint32) {
	for _, e := range es {
		ks = append(ks, e.record.GetIteration())
	}
	return ks
}

// Records are entered in order, once, whoever has them and whatever comes first.
func TestLedger(t *testing.T) {
	l := newLedger(4, 1<<20, nil, 5)
	for _, step := range []struct {
		k    uint32
		want []uint32
	}{{8, nil}, {7, nil}, {8, nil}, {6, []uint32{6, 7, 8}}, {7, nil}, {9, []uint32{9}}, {3, nil}} {
		fresh, err := l.add("a", rec(step.k))
		if err != nil || len(fresh) != len(step.want) || len(fresh) > 0 && numbers(fresh)[0] != step.want[0] {
			t.Errorf("after %d: %v, %v, not %v", step.k, numbers(fresh), err, step.want)
		}
	}
	if l.have != 9 || len(l.pending) != 0 {
		t.Errorf("have %d, and %d wait", l.have, len(l.pending))
	}
}

// What nobody has a record of is not waited for longer than trainers keep theirs.
func TestAGapThatNobodyFills(t *testing.T) {
	l := newLedger(4, 1<<20, nil, 0)
	for k := uint32(4); k < 4+keptRecords-1; k++ {
		if fresh, err := l.add("a", rec(k)); err != nil || len(fresh) > 0 {
			t.Fatalf("at %d: %v, %v", k, numbers(fresh), err)
		}
	}
	fresh, err := l.add("a", rec(4+keptRecords-1))
	if err != nil || len(fresh) != keptRecords || fresh[0].skipped != 3 || fresh[1].skipped != 0 {
		t.Errorf("%d records, %v", len(fresh), err)
	}
	if _, err := l.add("a", rec(2000)); err != nil {
		t.Fatal(err)
	}
	if rest := l.rest(); len(rest) != 1 || rest[0].skipped != 2000-4-keptRecords || l.have != 2000 {
		t.Errorf("the rest is %v, have %d", rest, l.have)
	}
	for k := uint32(2001); k < 6000; k++ {
		if _, err := l.add("a", rec(k)); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.kept) > keptRecords || len(l.pending) > 0 {
		t.Errorf("%d are kept, %d wait", len(l.kept), len(l.pending))
	}
}

func TestRecordsThatMakeNoSense(t *testing.T) {
	for name, change := range map[string]func(*ditherv1.IterationRecord){
		"iteration 0":           func(r *ditherv1.IterationRecord) { r.Iteration = 0 },
		"beyond the end":        func(r *ditherv1.IterationRecord) { r.Iteration = 21 },
		"too few digests":       func(r *ditherv1.IterationRecord) { r.LabelDigests = r.LabelDigests[1:] },
		"a short digest":        func(r *ditherv1.IterationRecord) { r.LabelDigests[2] = "short" },
		"too many shards' time": func(r *ditherv1.IterationRecord) { r.ShardSeconds = make([]float32, 5) },
	} {
		r := rec(1)
		change(r)
		if fresh, err := newLedger(4, 20, nil, 0).add("a", r); !errors.Is(err, errMalformed) || fresh != nil {
			t.Errorf("%s: %v, %v", name, fresh, err)
		}
	}
	l := newLedger(4, 20, nil, 0)
	for name, m := range map[string]*ditherv1.Aborted{
		"beyond the shards": {Iteration: 1, FirstShard: 3, LabelDigests: digests(1)},
		"beyond the end":    {Iteration: 21, LabelDigests: digests(1)},
		"a short digest":    {Iteration: 1, LabelDigests: []string{"short"}},
		"a shard of 2^32":   {Iteration: 1, FirstShard: math.MaxUint32, LabelDigests: digests(1)},
	} {
		if err := l.begun("a", m); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The labels of an iteration that was begun must be those of every later try, whoever computes which shard.
func TestLabelsOfTries(t *testing.T) {
	l := newLedger(4, 2000, nil, 0)
	bad := digests(1)
	bad[3] = "feedfeedfeedfeed"
	try := func(from string, k uint32, first uint32, d ...string) error {
		return l.begun(from, &ditherv1.Aborted{Iteration: k, FirstShard: first, LabelDigests: d})
	}
	if err := errors.Join(try("a", 1, 0, digests(1)[:2]...), try("b", 1, 2, digests(1)[2:]...), try("c", 1, 1, digests(1)[1:3]...)); err != nil {
		t.Error(err)
	}
	if err := try("c", 1, 3, bad[3]); err == nil || !strings.Contains(err.Error(), "iteration 1, shard 3, are not those of the first try (0000000100000003 from b, feedfeedfeedfeed from c)") {
		t.Error(err)
	}
	if _, err := l.add("a", rec(1)); err != nil {
		t.Error(err)
	}
	if err := try("c", 1, 3, bad[3]); err == nil || !strings.Contains(err.Error(), "(0000000100000003 from a, feedfeedfeedfeed from c)") {
		t.Errorf("a try after the record: %v", err)
	}
	for k := uint32(2); k < 100; k++ {
		if err := try("a", k, 0, digests(k)...); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.tries) > keptBegun {
		t.Errorf("the labels of %d tries are kept", len(l.tries))
	}
	// Of a record that another coordinator made only the digest of all is known.
	of := newLedger(4, 20, []*entry{{record: &ditherv1.IterationRecord{Iteration: 1}, from: "the record", labels: labelsSHA256(bad)}}, 1)
	r := rec(1)
	r.Loss = 0
	if _, err := of.add("a", r); err == nil || !strings.Contains(err.Error(), "the noisy soft labels of iteration 1 are not those of the first try") {
		t.Errorf("%v", err)
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
		if e, err := newEvaluations(nil).add(c.part); e != nil || err == nil || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v, %v, without %q", name, e, err, c.word)
		}
	}
	es := newEvaluations(nil)
	if _, err := es.add(&ditherv1.Part{Kind: test, Total: 4, Values: f64(4, 2, 2)}); err != nil {
		t.Fatal(err)
	}
	if _, err := es.add(&ditherv1.Part{Kind: test, First: 2, Total: 5, Values: f64(4, 2, 2)}); err == nil || !strings.Contains(err.Error(), "over 4 images and 5 images") {
		t.Errorf("%v", err)
	}
	if _, err := es.add(&ditherv1.Part{Kind: test, First: 2, Total: 4, Values: f64(0, 0, 2)}); err != nil { // a trainer with nothing to do
		t.Error(err)
	}
	if e, err := es.add(&ditherv1.Part{Kind: test, First: 2, Total: 4, Values: f64(4, 2, 2)}); err != nil || e.GetImages() != 4 || len(es.open) != 0 {
		t.Errorf("%v, %v, %d left", e, err, len(es.open))
	}
	var err error
	for k := uint32(0); err == nil; k++ {
		if _, err = es.add(&ditherv1.Part{Kind: test, Iteration: 10 + k, Total: 4, Values: f64(2, 1, 2)}); k > mostEvaluations {
			t.Fatal("evaluations that are not whole are kept without end")
		}
	}
}

// After a change of generation the images are cut in another way; what came before is there already.
func TestPartsThatOverlap(t *testing.T) {
	values := []float64{1e16, 1, 1, 0, -1e16, 1, 2, 1, 0.5, 0} // [5][2]; the losses' sum depends on its order
	cut := func(first, end int) *ditherv1.Part {
		return &ditherv1.Part{Kind: ditherv1.PartKind_PART_KIND_TEST, Iteration: 3, First: uint32(first), Total: 5, Values: ditherv1.Float64Tensor(values[2*first:2*end], int64(end-first), 2)}
	}
	for _, cuts := range [][][2]int{{{3, 5}, {1, 4}, {0, 2}}, {{1, 2}, {3, 4}, {0, 5}}, {{0, 2}, {0, 2}, {1, 5}}, {{4, 5}, {2, 3}, {0, 4}}} {
		es := newEvaluations(nil)
		for i, c := range cuts {
			e, err := es.add(cut(c[0], c[1]))
			if err != nil || (e != nil) != (i == len(cuts)-1) {
				t.Fatalf("%v at %d: %v, %v", cuts, i, e, err)
			}
			if e != nil && (e.GetLoss() != 2.5/5 || e.GetAccuracy() != 3.0/5) {
				t.Errorf("%v: %v", cuts, e)
			}
		}
		if e, err := es.add(cut(0, 5)); e != nil || err != nil {
			t.Errorf("once more: %v, %v", e, err)
		}
	}
}
