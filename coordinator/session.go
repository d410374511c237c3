package coordinator

import (
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/dither-ml/dither/coordinator/membership"
	"github.com/dither-ml/dither/coordinator/quorum"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const (
	mostOrders = 16       // that wait for a trainer; it has a handful in its life
	mostHello  = 16 << 10 // bytes of a hello
	mostWords  = 2 << 10  // bytes of a sentence that a trainer has to say; the rest is cut off
)

// Session is one trainer's line to the coordinator: a Report stream, or its like in this process. Receive and Detach are for one goroutine.
type Session struct {
	t      *term // nil: nobody leads here
	none   string
	orders chan *ditherv1.ReportResponse

	// t.mu guards the rest.
	peer   *peer // nil: it has not said who it is
	told   struct{ stop, over bool }
	closed bool // orders is closed
	left   bool // Detach was called
}

// Attach opens a session. Its first word is a hello.
func (c *Coordinator) Attach() *Session {
	s := &Session{orders: make(chan *ditherv1.ReportResponse, mostOrders)}
	s.t, s.none = c.current()
	if s.t == nil || !s.t.attach(s) {
		close(s.orders)
	}
	return s
}

// Orders are the answer to the hello, and what the trainer is to do. The channel is closed when the session is over: another took its place, or this
// coordinator does not lead (any more).
func (s *Session) Orders() <-chan *ditherv1.ReportResponse { return s.orders }

// Receive takes one record. An error refuses the session; what fails the run is kept elsewhere. The record is the coordinator's from then on.
func (s *Session) Receive(m *ditherv1.ReportRequest) error {
	if s.t == nil {
		return ditherv1.Fault(codes.Unavailable, s.none, "Report", "ask etcd who leads")
	}
	t := s.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.closed {
		return s.over()
	}
	if err := t.identify(s, m); err != nil {
		return err
	}
	s.peer.heard = time.Now()
	return t.receive(s.peer, m)
}

// over says why a session is. t.mu is held.
func (s *Session) over() error {
	if s.peer != nil && s.peer.session != nil {
		return ditherv1.Fault(codes.Aborted, fmt.Sprintf("trainer %q reports on a newer stream", s.peer.ID), "Report", "go on with that one")
	}
	return ditherv1.Fault(codes.Unavailable, "this coordinator no longer leads", "Report", "ask etcd who leads")
}

// Detach says that the session is over, and how that was noticed. The trainer may come back with another: quorum says when it is lost.
func (s *Session) Detach(how string) {
	if s.t == nil {
		return
	}
	t := s.t
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sessions, s)
	s.left = true
	s.shut()
	if p := s.peer; p != nil && p.session == s {
		p.session, p.heard = nil, time.Now()
		t.log.Debug("a trainer's session is over", "trainer", p.ID, "how", how)
		t.wake()
	}
}

// detached says that the trainer's side has ended the session.
func (s *Session) detached() bool {
	if s.t == nil {
		return false
	}
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	return s.left
}

// shut closes the orders; t.mu is held.
func (s *Session) shut() {
	if !s.closed {
		s.closed = true
		close(s.orders)
	}
}

// order tells the trainer something; t.mu is held. A trainer that does not read its orders is not waited for.
func (s *Session) order(m *ditherv1.ReportResponse) {
	if s.closed || m.GetStop() && s.told.stop || m.GetOver() && s.told.over {
		return
	}
	select {
	case s.orders <- m:
		s.told.stop, s.told.over = s.told.stop || m.GetStop(), s.told.over || m.GetOver()
	default:
	}
}

// attach takes note of a session; false: the term is over.
func (t *term) attach(s *Session) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hungUp {
		s.closed = true
		return false
	}
	t.sessions[s] = struct{}{}
	return true
}

// hangUp ends all sessions without a word.
func (t *term) hangUp() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hungUp = true
	for s := range t.sessions {
		if s.peer != nil {
			s.peer.session = nil
		}
		s.shut()
	}
}

// identify binds a session to the trainer that speaks on it; t.mu is held.
func (t *term) identify(s *Session, m *ditherv1.ReportRequest) error {
	id, hello := m.GetId(), m.GetHello()
	bad := func(what, todo string) error { return ditherv1.Fault(codes.InvalidArgument, what, "Report", todo) }
	switch {
	case id == "":
		return bad("a record does not say whose it is", "set its id")
	case s.peer != nil && s.peer.ID != id:
		return bad(fmt.Sprintf("a record of %.64q came on the stream of %q", id, s.peer.ID), "open one stream for each trainer")
	case s.peer != nil && hello == nil:
		return nil
	case hello == nil:
		return bad(fmt.Sprintf("%.64q speaks before it has said who it is", id), "begin with a hello")
	case proto.Size(hello) > mostHello:
		return bad(fmt.Sprintf("a hello of %d bytes", proto.Size(hello)), fmt.Sprintf("at most %d", mostHello))
	case hello.GetMember().GetId() != id || hello.GetMember().GetRole() != roleTrainer:
		return bad(fmt.Sprintf("the hello of %.64q names the %.64q %.64q", id, hello.GetMember().GetRole(), hello.GetMember().GetId()), "say hello as the trainer that it is in etcd")
	case membership.CheckName("id", id) != nil:
		return bad(membership.CheckName("id", id).Error(), "choose another --id")
	}
	me := member(hello.GetMember())
	p := t.peers[id]
	switch {
	case p == nil || p.session == nil && !same(p.Member, me):
		p = &peer{Member: me}
		t.peers[id] = p
		delete(t.words, id)
	case !same(p.Member, me):
		return ditherv1.Fault(codes.AlreadyExists, fmt.Sprintf("trainer %q reports from another process already (%s)", id, p.Process), "Report", "start this one under another --id, or wait until that one is found lost")
	case p.session != nil && p.session != s: // a stream that broke on the trainer's side alone
		old := p.session
		p.session = s
		delete(t.sessions, old)
		old.shut()
	}
	p.Member, p.session, s.peer = me, s, p
	t.log.Debug("a trainer calls", "trainer", p.ID, "iteration", hello.GetBeat().GetIteration(), "have", t.ledger.have)
	s.order(&ditherv1.ReportResponse{Have: t.ledger.have})
	switch d := t.decision; {
	case t.result != nil:
		s.order(&ditherv1.ReportResponse{Over: true, Reason: t.result.GetReason()})
	case d.Stop:
		s.order(&ditherv1.ReportResponse{Stop: true, Reason: d.Reason})
	}
	t.wake()
	return nil
}

// same says that two members are one process.
func same(a, b quorum.Member) bool {
	return a.ID == b.ID && a.Process == b.Process && a.Address == b.Address
}

// clip bounds what is kept of a trainer's words.
func clip(s string) string {
	if len(s) > mostWords {
		return s[:mostWords] + "..."
	}
	return s
}
