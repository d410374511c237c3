package chaos

import (
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// Network is the proxies before all processes of a run: every connection between two of them goes through one, so that it can be cut and delayed.
type Network struct {
	who func(dialed net.Conn) string // who opened a connection to a proxy, by the place of its process; "": nobody that is known

	mu      sync.Mutex
	rules   map[*rule]struct{}
	links   map[*link]struct{}
	proxies []*Proxy
	changed chan struct{} // closed and replaced whenever a rule comes or goes
	closed  bool
	busy    sync.WaitGroup
}

// Observer is the place of who watches a run from outside: no rule covers what it opens.
const Observer = "observer"

// rule is what is done between a place and another, or everybody.
type rule struct {
	a, b   string // b "": everybody
	silent bool
	broken bool
	delay  time.Duration
}

func (r *rule) covers(from, to string) bool {
	if from == Observer {
		return false
	}
	return r.a == from && (r.b == "" || r.b == to) || r.a == to && (r.b == "" || r.b == from)
}

// Proxy stands before one place: what it hears at Address goes to the process that is there now.
type Proxy struct {
	network  *Network
	place    string
	listener net.Listener

	mu     sync.Mutex
	target string
}

// link is a connection through a proxy.
type link struct {
	from, to string
	near     net.Conn // of who opened it
	far      net.Conn // of the process behind the proxy
}

// NewNetwork makes a network without proxies. who says which place a connection to one was opened from.
func NewNetwork(who func(dialed net.Conn) string) *Network {
	return &Network{who: who, rules: map[*rule]struct{}{}, links: map[*link]struct{}{}, changed: make(chan struct{})}
}

// Proxy begins to listen for a place, whose process listens at target.
func (n *Network) Proxy(place, target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{network: n, place: place, listener: l, target: target}
	n.mu.Lock()
	n.proxies = append(n.proxies, p)
	n.busy.Go(p.accept)
	n.mu.Unlock()
	return p, nil
}

// Address is where others reach the place.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Retarget has connections from now on go to another process.
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Cut keeps two places apart until the end is called; b "" is everybody. Silent, nothing comes through; else connections break, and none comes about.
func (n *Network) Cut(a, b string, silent bool) (end func()) {
	return n.impose(&rule{a: a, b: b, silent: silent, broken: !silent})
}

// Delay makes everything between two places take so much longer, each way, until the end is called; b "" is everybody.
func (n *Network) Delay(a, b string, d time.Duration) (end func()) {
	return n.impose(&rule{a: a, b: b, delay: d})
}

func (n *Network) impose(r *rule) (end func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rules[r] = struct{}{}
	n.wake()
	if r.broken {
		for l := range n.links {
			if r.covers(l.from, l.to) {
				l.breakOff()
			}
		}
	}
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.rules, r)
		n.wake()
	}
}

// wake has whoever waits look at the rules again; n.mu is held.
func (n *Network) wake() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// between is what the rules say of a link now, and when to ask again.
func (n *Network) between(from, to string) (delay time.Duration, silent, broken bool, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for r := range n.rules {
		if r.covers(from, to) {
			delay, silent, broken = max(delay, r.delay), silent || r.silent, broken || r.broken
		}
	}
	return delay, silent && !n.closed, broken || n.closed, n.changed
}

// Close breaks every connection and ends every proxy.
func (n *Network) Close() {
	n.mu.Lock()
	n.closed = true
	for _, p := range n.proxies {
		_ = p.listener.Close()
	}
	for l := range n.links {
		l.breakOff()
	}
	n.wake()
	n.mu.Unlock()
	n.busy.Wait()
}

func (p *Proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return // as the network is closed
		}
		p.network.busy.Go(func() { p.carry(near) })
	}
}

// carry takes a connection to the process behind the proxy, and what comes through it both ways until either end closes it.
func (p *Proxy) carry(near net.Conn) {
	n := p.network
	l := &link{from: n.who(near), to: p.place, near: near}
	if !n.pass(l.from, l.to) {
		l.breakOff()
		return
	}
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	far, err := net.Dial("tcp", target)
	if err != nil {
		l.breakOff()
		return
	}
	l.far = far
	if !n.enter(l) {
		l.breakOff()
		return
	}
	defer n.leave(l)
	var both sync.WaitGroup
	both.Go(func() { n.pump(l, l.far, l.near) })
	both.Go(func() { n.pump(l, l.near, l.far) })
	both.Wait()
}

// pass waits for as long as nothing comes through between two places; false if connections break there.
func (n *Network) pass(from, to string) bool {
	for {
		_, silent, broken, changed := n.between(from, to)
		if broken {
			return false
		}
		if !silent {
			return true
		}
		<-changed
	}
}

func (n *Network) enter(l *link) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.links[l] = struct{}{}
	return true
}

func (n *Network) leave(l *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.links, l)
	l.breakOff()
}

// breakOff closes both ends, without a farewell.
func (l *link) breakOff() {
	for _, c := range []net.Conn{l.near, l.far} {
		if c == nil {
			continue
		}
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		_ = c.Close()
	}
}

const (
	pieceBytes  = 32 << 10
	piecesAhead = 64 // on their way through a link, each way
)

// piece is bytes on their way, and when they are to arrive.
type piece struct {
	data []byte
	due  time.Time
}

// pump takes bytes from one end to the other, no sooner than the rules allow.
func (n *Network) pump(l *link, to, from net.Conn) {
	pieces := make(chan piece, piecesAhead)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for p := range pieces {
			if wait := time.Until(p.due); wait > 0 {
				time.Sleep(wait) // at most the delay of a rule
			}
			if !n.pass(l.from, l.to) {
				l.breakOff()
				break
			}
			if _, err := to.Write(p.data); err != nil {
				l.breakOff()
				break
			}
		}
		for range pieces {
		}
		if t, ok := to.(*net.TCPConn); ok {
			_ = t.CloseWrite()
		}
	}()
	buffer := make([]byte, pieceBytes)
	for {
		k, err := from.Read(buffer)
		if k > 0 {
			delay, _, _, _ := n.between(l.from, l.to)
			pieces <- piece{slices.Clone(buffer[:k]), time.Now().Add(delay)}
		}
		if err != nil {
			if err != io.EOF {
				l.breakOff()
			}
			break
		}
	}
	close(pieces)
	<-done
}
