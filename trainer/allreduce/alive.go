package allreduce

import (
	"fmt"
	"time"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce/wire"
)

// silenceTicks is how finely a silence is measured. What is counted is ticks of one's own clock, of which one that was missed does not come later: a trainer that was
// itself stopped for a while, or got no processor, has not listened either, and takes nobody for lost at once.
const silenceTicks = 8

// standstill is what a Transport has that can be frozen: it returns when nothing holds the trainer up.
type standstill interface{ standstill() }

// watch lets idle lanes send beats, and finds the peer who is silent for too long, until the reducer is over.
func (r *Reducer) watch() {
	ticker := time.NewTicker(r.silence / silenceTicks)
	defer ticker.Stop()
	frozen, _ := r.transport.(standstill)
	for {
		select {
		case <-ticker.C:
		case <-r.over:
			return
		}
		if frozen != nil {
			frozen.standstill()
		}
		if rank := r.tick(); rank >= 0 {
			r.fail(lost(rank, r.transport.Address(rank), fmt.Errorf("silent for %v", r.silence)))
			return
		}
	}
}

// tick counts on, and gives the rank of a peer who has been silent for a whole silence, or -1.
func (r *Reducer) tick() (rank int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for rank, l := range r.lanes {
		if l == nil || r.departed[rank] {
			continue
		}
		if l.silent.Add(1) > silenceTicks {
			return rank
		}
		if l.idle++; l.idle >= silenceTicks/4 && len(l.queue) == 0 {
			l.beat = true
			l.ready.Signal()
		}
	}
	return -1
}

// pulse is the chunk without numbers by which an idle trainer says that it lives.
func (r *Reducer) pulse() wire.Chunk {
	return wire.Chunk{Iteration: r.iteration, Kind: ditherv1.ChunkKind_CHUNK_KIND_BEAT, Data: wire.Get(0)}
}
