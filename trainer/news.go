package trainer

import (
	"context"
	"errors"
	"sync"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// Why what a trainer does is cut short.
var (
	errOver       = errors.New("the run is over")
	errOutcast    = errors.New("the lease was lost: the others go on without this trainer")
	errExpired    = errors.New("this trainer was asked to go, and has waited for the others long enough")
	errSuperseded = errors.New("another generation is in force")
	errNamed      = errors.New("a generation names this trainer, or its source is gone")
)

// told is what a trainer has been told by others.
type told struct {
	generation *ditherv1.Generation     // in force; nil: none yet
	stop       string                   // why the whole run is to stop; "": it is not
	over       *ditherv1.ReportResponse // the coordinator's dismissal; nil: none
	outcast    bool                     // the lease is lost
	leaving    string                   // why this trainer is to go; "": it stays
	expired    bool                     // and it has waited for the others long enough
}

// hurries says why what is done in a generation is to be cut short, an iteration in flight too; nil: it is not. A planned successor lets it be ended, and so does a dismissal that was
// asked for: the others are in that iteration as well.
func (n told) hurries(generation uint64) error {
	next := n.generation.GetNumber()
	switch {
	case n.over != nil && n.leaving == "":
		return errOver
	case n.outcast:
		return errOutcast
	case n.expired:
		return errExpired
	case next > generation && !(n.generation.GetPlanned() && next == generation+1):
		return errSuperseded
	}
	return nil
}

// supersedes says why nothing new is to be begun in a generation; nil: it is.
func (n told) supersedes(generation uint64) error {
	if err := n.hurries(generation); err != nil {
		return err
	}
	switch {
	case n.over != nil:
		return errOver
	case n.generation.GetNumber() > generation:
		return errSuperseded
	}
	return nil
}

// rankOf is this process's rank in a generation. An earlier process may have had its id.
func rankOf(g *ditherv1.Generation, me *ditherv1.Member) (rank int, named bool) {
	for rank, m := range g.GetTrainers() {
		if m.GetId() == me.GetId() && m.GetProcess() == me.GetProcess() {
			return rank, true
		}
	}
	return -1, false
}

// news collects what is told, from any goroutine.
type news struct {
	mu      sync.Mutex
	told    told
	changed chan struct{} // closed at the next change
}

func newNews() *news { return &news{changed: make(chan struct{})} }

func (n *news) update(change func(*told)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(&n.told)
	close(n.changed)
	n.changed = make(chan struct{})
}

// now is what has been told so far, and a channel that is closed when there is more.
func (n *news) now() (told, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.told, n.changed
}

// until is a context that ends, with its reason as the cause, once ends gives one.
func (n *news) until(ctx context.Context, ends func(told) error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for {
			told, changed := n.now()
			if err := ends(told); err != nil {
				cancel(err)
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}
