package trainer

import (
	"context"
	"time"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/checkpoint"
)

// saves are the checkpoints on their way to a coordinator: at most one waits beside the one in flight, and the newest wins.
type saves struct {
	waiting *checkpoint.Checkpoint
	done    map[uint32]bool // of the newest two: the coordinator has written it
}

// save hands over a snapshot to be written as a checkpoint, whenever there is a coordinator.
func (l *link) save(c *checkpoint.Checkpoint) {
	l.change(func() { l.saves.waiting = c })
}

// saved waits until the checkpoint after iteration k is written.
func (l *link) saved(ctx context.Context, k uint32) error {
	return l.await(ctx, func() bool { return l.saves.done[k] })
}

// nothingToSave says, under the lock, that no checkpoint is on its way.
func (l *link) nothingToSave() bool { return l.saves.waiting == nil }

// upload writes checkpoints until ctx is over.
func (l *link) upload(ctx context.Context) {
	for pause := firstPause; ; {
		var c *checkpoint.Checkpoint
		var conn Coordinator
		if l.await(ctx, func() bool { c, conn = l.saves.waiting, l.conn; return c != nil && conn != nil }) != nil {
			return
		}
		k := c.Meta.Iteration
		data, err := encoded(c)
		if err == nil {
			err = conn.PutCheckpoint(ctx, k, data)
		}
		if err == nil {
			l.change(func() {
				if l.saves.done = map[uint32]bool{k: true}; l.saves.waiting == c {
					l.saves.waiting = nil
				}
			})
			pause = firstPause
			continue
		}
		l.logger.Warn("a checkpoint was not taken", "iteration", k, "error", ditherv1.Message(err), "next_try", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, lastPause)
	}
}
