package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/checkpoint"
)

const (
	// keptFor is how long a copy of the state is kept after it was last asked for: those who fetch it in parts ask for it several times.
	keptFor = 10 * time.Second
	// queueBytes bounds the updates that wait for one follower; some always may.
	queueBytes   = 64 << 20
	queueUpdates = 4
)

// offer is what other trainers can have of this one's state.
type offer struct {
	requests chan *stateRequest // to the loop, which answers them when the state is whole
	closed   chan struct{}

	mu        sync.Mutex
	open      bool // there is a state
	applied   uint32
	kept      *kept         // the newest copy; nil: none
	copied    chan struct{} // closed when there is another copy
	followers map[*follower]struct{}
	pending   []*stateRequest // of the loop: for a later iteration
}

// stateRequest asks for the state after an iteration, or a later one.
type stateRequest struct {
	least  uint32
	answer chan *kept // holds one
}

// kept is a copy of the state.
type kept struct {
	snapshot *checkpoint.Checkpoint
	encode   sync.Once // by who asks first: the loop does not wait for it
	data     []byte
	sum      [sha256.Size]byte
	err      error
	used     time.Time // last; guarded by the offer
}

func (k *kept) iteration() uint32 { return k.snapshot.Meta.Iteration }

func (k *kept) bytes() ([]byte, [sha256.Size]byte, error) {
	k.encode.Do(func() {
		if k.data, k.err = encoded(k.snapshot); k.err == nil {
			k.sum = sha256.Sum256(k.data)
		}
	})
	return k.data, k.sum, k.err
}

// wireUpdate is an update as it travels.
type wireUpdate struct {
	iteration uint32
	lr        float64
	data      []byte
	sum       [sha256.Size]byte
}

// follower is one who is sent every update. Its fields are guarded by the offer.
type follower struct {
	queue []*wireUpdate
	more  chan struct{} // holds one: the queue has grown, or it was cut off
	cut   string        // why; "": it is not
}

func newOffer() *offer {
	return &offer{requests: make(chan *stateRequest), closed: make(chan struct{}), copied: make(chan struct{}), followers: map[*follower]struct{}{}}
}

// close refuses everything from now on.
func (o *offer) close() {
	close(o.closed)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cutAll("the trainer is gone")
}

func (o *offer) cutAll(why string) {
	for f := range o.followers {
		o.cutOff(f, why)
	}
}

func (o *offer) cutOff(f *follower, why string) {
	f.cut, f.queue = why, nil
	delete(o.followers, f)
	f.wake()
}

func (f *follower) wake() {
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// jump says that the state is another one, after iteration k: followers would have a gap.
func (o *offer) jump(k uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open, o.applied, o.kept = true, k, nil
	o.cutAll("the trainer took its state from another one")
}

// publish says that iteration k was applied; update is asked for where somebody follows.
func (o *offer) publish(k uint32, update func() (*Update, error)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.applied = k
	if o.kept != nil && k > o.kept.iteration()+1 && time.Since(o.kept.used) > keptFor {
		o.kept = nil
	}
	if len(o.followers) == 0 {
		return nil
	}
	u, err := update()
	if err != nil {
		return err
	}
	w := &wireUpdate{iteration: u.Iteration, lr: u.LR, data: floatBytes(u.Sums)}
	w.sum = sha256.Sum256(w.data)
	for f := range o.followers {
		if len(f.queue) >= max(queueUpdates, queueBytes/max(1, len(w.data))) {
			o.cutOff(f, fmt.Sprintf("it did not keep up: %d updates wait for it", len(f.queue)))
			continue
		}
		f.queue = append(f.queue, w)
		f.wake()
	}
	return nil
}

// follow begins to send updates to somebody, and says after which iteration they follow.
func (o *offer) follow() (f *follower, after uint32, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.open {
		return nil, 0, false
	}
	f = &follower{more: make(chan struct{}, 1)}
	o.followers[f] = struct{}{}
	return f, o.applied, true
}

func (o *offer) unfollow(f *follower) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.followers, f)
}

// take takes what waits for a follower.
func (o *offer) take(f *follower) (updates []*wireUpdate, cut string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	updates, f.queue = f.queue, nil
	return updates, f.cut
}

// keep makes a copy what others get.
func (o *offer) keep(k *kept) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept = k
	close(o.copied)
	o.copied = make(chan struct{})
}

// fresh is the copy that is there, if it will do; and a channel that is closed when there is another one.
func (o *offer) fresh(least uint32) (*kept, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kept == nil || o.kept.iteration() < least {
		return nil, o.copied
	}
	o.kept.used = time.Now()
	return o.kept, nil
}

// state is a copy of the state after an iteration, or a later one, as soon as there is one. Who asks may be the very one for whom the loop waits in its iteration: a copy that the
// loop makes before it has the request must do.
func (o *offer) state(ctx context.Context, least uint32) (*kept, error) {
	r := &stateRequest{least, make(chan *kept, 1)}
	for asked := false; !asked; {
		k, copied := o.fresh(least)
		if k != nil {
			return k, nil
		}
		select {
		case o.requests <- r:
			asked = true
		case <-copied:
		case <-o.closed:
			return nil, errGone
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	select {
	case k := <-r.answer:
		if k == nil {
			return nil, errStateless
		}
		return k, nil
	case <-o.closed:
		return nil, errGone
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

var (
	errGone      = ditherv1.Fault(codes.Unavailable, "the trainer is gone", "", "ask another one")
	errStateless = ditherv1.Fault(codes.Unavailable, "the trainer has no state yet", "", "ask another one")
)

func floatBytes(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func bytesFloats(b []byte) []float32 {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}
