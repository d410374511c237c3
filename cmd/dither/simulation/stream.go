package simulation

import (
	"context"
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer"
)

// dialPatience is how long one waits for a host from which no answer comes.
const dialPatience = 5 * time.Second

// stream is what comes from a peer.
type stream[T any] struct {
	p        *process // who asked
	ctx      context.Context
	messages chan *T
	err      error // once messages is closed
}

func (s *stream[T]) Recv() (*T, error) {
	if err := s.p.gate(); err != nil {
		return nil, err
	}
	select {
	case m, open := <-s.messages:
		if open {
			return m, nil
		}
		return nil, s.err
	case <-s.ctx.Done():
		return nil, context.Cause(s.ctx)
	}
}

// message is a pointer to a protobuf message.
type message[T any] interface {
	*T
	proto.Message
}

// call asks the process of a trainer; it answers with its own methods, message by message.
func call[T any, M message[T]](ctx context.Context, p *process, to *ditherv1.Member, what string, serve func(context.Context, *trainer.Trainer, func(M) error) error) (trainer.Stream[T], error) {
	w := p.w
	if err := p.gate(); err != nil {
		return nil, err
	}
	way := w.lane(p.member.GetAddress()+" "+what+" "+to.GetAddress(), w.Travel)
	way.travel()
	w.mu.Lock()
	var peer *process
	for _, q := range w.processes {
		if q.member.GetAddress() == to.GetAddress() {
			peer = q
		}
	}
	w.mu.Unlock()
	dial, cancel := context.WithTimeout(ctx, dialPatience)
	err := w.await(dial, func() bool { return peer == nil || peer.dead || w.open(p.host, peer.host) })
	cancel()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, errCut
	case peer == nil || peer.isDead():
		return nil, errRefused
	}
	// The stream ends with its caller's context, with the process that answers, and with the one that asked.
	ctx, end := context.WithCancelCause(ctx)
	stopPeer := context.AfterFunc(peer.ctx, func() { end(errCut) })
	stopOwn := context.AfterFunc(p.ctx, func() { end(errKilled) })
	s := &stream[T]{p: p, ctx: ctx, messages: make(chan *T)}
	w.all.Go(func() {
		defer close(s.messages)
		defer stopPeer()
		defer stopOwn()
		s.err = serve(ctx, peer.trainer, func(m M) error {
			m = proto.CloneOf(m)
			if err := peer.gate(); err != nil {
				return err
			}
			way.travel()
			if err := w.pass(ctx, p.host, peer.host); err != nil {
				return err
			}
			select {
			case s.messages <- m:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		if s.err == nil {
			s.err = io.EOF
		}
	})
	return s, nil
}

func (m *machine) isDead() bool {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return m.dead
}
