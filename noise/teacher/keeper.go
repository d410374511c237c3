package teacher

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"math"
	"sync"

	"github.com/dither-ml/dither/noise"
)

// question is what a noise is asked about one sample. With the logits' hash, for a noise that is drawn once a run has an answer for each view.
type question struct {
	iteration, sample uint32
	logits            uint64 // FNV-1a of the logits' bits
}

// keeper makes a noise replayable that is not: each question is asked of it once, and answered from the journal from then on.
type keeper struct {
	noise.Noise
	journal *Journal

	mu    sync.Mutex
	asked map[question]chan struct{} // being asked; closed when the answer is in the journal, or there will be none
}

func newKeeper(n noise.Noise, j *Journal) *keeper {
	return &keeper{Noise: n, journal: j, asked: map[question]chan struct{}{}}
}

// Perturb implements noise.Noise. An error of the journal wraps ErrJournal.
func (n *keeper) Perturb(ctx context.Context, seed uint64, k uint32, samples []uint32, logits, out []float32) error {
	if len(samples) == 0 {
		return nil
	}
	classes := len(logits) / len(samples)
	questions := make([]question, len(samples))
	open := make([]int, len(samples)) // places without an answer; out may be logits, and has them still there
	for i, id := range samples {
		questions[i], open[i] = question{k, id, hashOf(logits[i*classes : (i+1)*classes])}, i
	}
	for len(open) > 0 {
		mine, known, others, answer := n.claim(questions, open)
		if err := n.ask(ctx, seed, k, mine, questions, logits, out, classes, answer); err != nil {
			return err
		}
		for _, i := range known {
			if err := n.journal.read(questions[i], out[i*classes:(i+1)*classes]); err != nil {
				return err
			}
		}
		for _, i := range others {
			if err := n.wait(ctx, questions[i]); err != nil {
				return err
			}
		}
		open = others
	}
	return nil
}

// claim sorts places into those that this caller is to ask about, those whose answers are known, and those that another one asks about. answer is to be
// closed once mine are answered.
func (n *keeper) claim(questions []question, open []int) (mine, known, others []int, answer chan struct{}) {
	answer = make(chan struct{})
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, i := range open {
		switch q := questions[i]; {
		case n.journal.has(q):
			known = append(known, i)
		case n.asked[q] != nil:
			others = append(others, i) // a sample that is asked for twice at once too: the second is known when the first is
		default:
			n.asked[q] = answer
			mine = append(mine, i)
		}
	}
	return mine, known, others, answer
}

// ask puts the questions at places to the noise and keeps the answers, before anybody sees them.
func (n *keeper) ask(ctx context.Context, seed uint64, k uint32, places []int, questions []question, logits, out []float32, classes int, answer chan struct{}) error {
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, i := range places {
			delete(n.asked, questions[i])
		}
		close(answer)
	}()
	if len(places) == 0 {
		return nil
	}
	samples, rows, asked := make([]uint32, len(places)), make([]float32, 0, len(places)*classes), make([]question, len(places))
	for j, i := range places {
		samples[j], asked[j] = questions[i].sample, questions[i]
		rows = append(rows, logits[i*classes:(i+1)*classes]...)
	}
	if err := n.Noise.Perturb(ctx, seed, k, samples, rows, rows); err != nil {
		return err
	}
	if err := n.journal.add(asked, rows); err != nil {
		return err
	}
	for j, i := range places {
		copy(out[i*classes:(i+1)*classes], rows[j*classes:])
	}
	return nil
}

// wait is over when q is no longer being asked.
func (n *keeper) wait(ctx context.Context, q question) error {
	n.mu.Lock()
	answer := n.asked[q]
	n.mu.Unlock()
	if answer == nil {
		return nil
	}
	select {
	case <-answer:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func hashOf(logits []float32) uint64 {
	h := fnv.New64a()
	var b [4]byte
	for _, v := range logits {
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
		_, _ = h.Write(b[:])
	}
	return h.Sum64()
}
