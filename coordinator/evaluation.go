package coordinator

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// mostEvaluations is of how many evaluations parts are kept at once; in training there are a handful.
const mostEvaluations = 256

// evaluations puts the trainers' parts of each evaluation together, by image: sums are in the order of the images, in float64, so that they
// do not depend on who evaluated which. Parts may come again, cut in another way, with the same numbers.
type evaluations struct {
	open map[evaluationKey]*evaluation
	done map[evaluationKey]bool // on record
}

func newEvaluations(done []*ditherv1.Evaluation) *evaluations {
	es := &evaluations{open: map[evaluationKey]*evaluation{}, done: map[evaluationKey]bool{}}
	for _, e := range done {
		for kind, k := range kinds {
			if k.name == e.GetKind() {
				es.done[evaluationKey{kind, e.GetIteration()}] = true
			}
		}
	}
	return es
}

type evaluationKey struct {
	kind      ditherv1.PartKind
	iteration uint32
}

type evaluation struct {
	total uint32
	have  uint32
	parts []part // by first image; they do not overlap
}

type part struct {
	first  uint32
	values []float64 // [n][columns]
}

// kinds are the names of evaluations in events, and the numbers that an image has in each.
var kinds = map[ditherv1.PartKind]struct {
	name    string
	columns int
}{
	ditherv1.PartKind_PART_KIND_TEST:          {"test", 2},
	ditherv1.PartKind_PART_KIND_VALIDATION:    {"validation", 2},
	ditherv1.PartKind_PART_KIND_GRADIENT_NORM: {"gradient_norm", 1},
}

// add takes a part, and gives the evaluation if it is whole now.
func (es *evaluations) add(m *ditherv1.Part) (*ditherv1.Evaluation, error) {
	kind, ok := kinds[m.GetKind()]
	if !ok {
		return nil, fmt.Errorf("a part of an evaluation of kind %v", m.GetKind())
	}
	what := fmt.Sprintf("%s after iteration %d", kind.name, m.GetIteration())
	shape := m.GetValues().GetShape()
	if len(shape) == 0 || shape[0] < 0 || shape[0] > int64(m.GetTotal()) || int64(m.GetFirst())+shape[0] > int64(m.GetTotal()) {
		return nil, fmt.Errorf("a part of the evaluation of %s has shape %v from image %d of %d", what, shape, m.GetFirst(), m.GetTotal())
	}
	n := uint32(shape[0])
	want := []int64{int64(n), 2}[:kind.columns]
	// Held against the bytes that came before anything is allocated: a shape alone could ask for all the memory there is.
	if len(m.GetValues().GetData()) != int(n)*kind.columns*8 {
		return nil, fmt.Errorf("a part of the evaluation of %s has %d bytes for %d images", what, len(m.GetValues().GetData()), n)
	}
	values := make([]float64, int(n)*kind.columns)
	if err := m.GetValues().ReadFloat64(values, want...); err != nil {
		return nil, fmt.Errorf("a part of the evaluation of %s: %w", what, err)
	}
	key := evaluationKey{m.GetKind(), m.GetIteration()}
	if es.done[key] {
		return nil, nil
	}
	e := es.open[key]
	if e == nil {
		if len(es.open) >= mostEvaluations {
			return nil, fmt.Errorf("the evaluation of %s is one of more than %d that are not whole", what, mostEvaluations)
		}
		e = &evaluation{total: m.GetTotal()}
		es.open[key] = e
	}
	if e.total != m.GetTotal() {
		return nil, fmt.Errorf("the trainers disagree about the evaluation of %s: it is over %d images and %d images", what, e.total, m.GetTotal())
	}
	if err := e.insert(part{m.GetFirst(), values}, n, kind.columns); err != nil {
		return nil, fmt.Errorf("the evaluation of %s: %w", what, err)
	}
	if e.have < e.total {
		return nil, nil
	}
	delete(es.open, key)
	es.done[key] = true
	return e.whole(key, kind.name), nil
}

// insert adds what is new of a part, and holds the rest against what is there.
func (e *evaluation) insert(p part, n uint32, columns int) error {
	first, end := p.first, p.first+n
	var fresh []part
	add := func(to uint32) { // what lies before to, and is not there
		if to > first {
			fresh = append(fresh, part{first, p.values[int(first-p.first)*columns : int(to-p.first)*columns]})
			e.have += to - first
		}
	}
	for _, q := range e.parts {
		from, to := max(first, q.first), min(end, q.first+uint32(len(q.values)/columns))
		if from >= to {
			continue
		}
		for i := range int(to-from) * columns {
			was, is := q.values[int(from-q.first)*columns+i], p.values[int(from-p.first)*columns+i]
			if math.Float64bits(was) != math.Float64bits(is) {
				return fmt.Errorf("image %d came twice with other numbers: %v and %v", from+uint32(i/columns), was, is)
			}
		}
		add(from)
		first = to
	}
	add(end)
	e.parts = append(e.parts, fresh...)
	slices.SortFunc(e.parts, func(a, b part) int { return cmp.Compare(a.first, b.first) })
	return nil
}

func (e *evaluation) whole(key evaluationKey, name string) *ditherv1.Evaluation {
	out := &ditherv1.Evaluation{Kind: name, Iteration: key.iteration, Images: e.total}
	if e.total == 0 {
		return out
	}
	n := float64(e.total)
	if key.kind == ditherv1.PartKind_PART_KIND_GRADIENT_NORM {
		sum := 0.0
		for _, p := range e.parts {
			for _, v := range p.values {
				sum += v
			}
		}
		out.GradientNorm = sum / n
		return out
	}
	loss, right := 0.0, 0.0
	for _, p := range e.parts {
		for i := 0; i < len(p.values); i += 2 {
			loss += p.values[i]
			right += p.values[i+1]
		}
	}
	out.Loss, out.Accuracy = loss/n, right/n
	return out
}

// incomplete says which evaluations lack which images; empty: none.
func (es *evaluations) incomplete() string {
	keys := slices.SortedFunc(maps.Keys(es.open), func(a, b evaluationKey) int {
		return cmp.Or(cmp.Compare(a.iteration, b.iteration), cmp.Compare(a.kind, b.kind))
	})
	var out []string
	for _, key := range keys {
		e, columns := es.open[key], kinds[key.kind].columns
		next := uint32(0)
		for _, p := range e.parts {
			if p.first > next {
				break
			}
			next = p.first + uint32(len(p.values)/columns)
		}
		out = append(out, fmt.Sprintf("the evaluation of %s after iteration %d lacks %d of %d images, from image %d", kinds[key.kind].name, key.iteration, e.total-e.have, e.total, next))
	}
	return strings.Join(out, "; ")
}
