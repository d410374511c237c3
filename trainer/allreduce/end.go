package allreduce

import "fmt"

// Abort ends the all-reduces at once: every Wait returns err, and the peers' too will fail. It returns when no goroutine of the reducer is left.
func (r *Reducer) Abort(err error) {
	r.fail(fmt.Errorf("all-reduce aborted: %w", err))
	r.goroutines.Wait()
	r.drop()
}

// Close ends the reducer in good order: what peers still need of this trainer is sent. With collectives that nobody waited for, it is Abort(ErrClosed).
// It returns when no goroutine of the reducer is left.
func (r *Reducer) Close() {
	r.mu.Lock()
	unfinished := len(r.started) > 0
	r.closing = true
	r.wake()
	r.mu.Unlock()
	if unfinished {
		r.fail(ErrClosed)
	}
	if r.sentAll() && r.transport != nil {
		r.transport.Close(nil)
	}
	r.goroutines.Wait()
	r.drop()
}

// drop gives up every buffer that is still held, once no goroutine of the reducer is left.
func (r *Reducer) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = ErrClosed
	}
	for id, a := range r.chunks {
		a.release()
		delete(r.chunks, id)
	}
}

// sentAll waits until every lane has sent what it had and is done, and says whether the reducer has not failed. Until then lanes go on beating, and a silent peer is found.
func (r *Reducer) sentAll() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waitForLanes(func(l *lane) bool { return l.deaf || len(l.queue) == 0 && !l.sending })
	r.sent = true
	r.wake()
	r.waitForLanes(func(l *lane) bool { return l.deaf })
	return r.err == nil
}

// waitForLanes waits until every lane is as wanted, or the reducer has failed. It holds r.mu.
func (r *Reducer) waitForLanes(wanted func(*lane) bool) {
	for _, l := range r.lanes {
		for l != nil && !wanted(l) && r.err == nil {
			r.progress.Wait()
		}
	}
}

// lose ends the reducer because of a peer, unless it closes: then there is nothing that it needs of a peer any more, and others may still need something of it.
func (r *Reducer) lose(err error) {
	r.mu.Lock()
	closing := r.closing
	r.mu.Unlock()
	if !closing {
		r.fail(err)
	}
}

// fail ends the reducer. The first failure is the one that counts.
func (r *Reducer) fail(err error) {
	r.mu.Lock()
	first := r.err == nil
	if first {
		r.err = err
		r.wake()
	}
	r.mu.Unlock()
	if first && r.transport != nil {
		r.transport.Close(err)
	}
}

// wake lets everyone look at r.err, r.closing and r.sent. It holds r.mu.
func (r *Reducer) wake() {
	if (r.err != nil || r.sent) && !closed(r.over) {
		close(r.over)
	}
	r.progress.Broadcast()
	r.work.Broadcast()
	for _, l := range r.lanes {
		if l != nil {
			l.ready.Broadcast()
		}
	}
}
