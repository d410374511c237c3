package allreduce

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// MemoryOptions are the faults of a MemoryNetwork that come by chance. What befalls the n-th chunk of a generation from one node to another is a function of Seed, the
// generation, the two nodes and n. In a bubble of testing/synctest delays take no real time, and no two chunks arrive at the same moment: the order of arrival, too, is the seed's.
type MemoryOptions struct {
	Seed  uint64
	Delay time.Duration // a chunk travels for a time drawn from [0, Delay); chunks of one pair keep their order
	Drop  float64       // probability that a chunk is lost; a stream cannot go on without it, so it breaks, for both
	Die   float64       // probability that the sender dies while sending a chunk
	Queue int           // chunks on their way between a pair before Send waits; 0: 16
}

// MemoryNetwork is the network of a simulation in one process: nodes with names, which open the exchanges of one generation after another, and faults by chance and by hand.
type MemoryNetwork struct {
	options MemoryOptions
	mu      sync.Mutex // guards everything of the network, its nodes, links and exchanges
	nodes   map[string]*MemoryNode
	numbers map[string]int // of addresses, in the order in which they were first named
	links   map[[2]string]*memoryLink
}

// MemoryNode is one process of a MemoryNetwork. It implements Connector.
type MemoryNode struct {
	network *MemoryNetwork
	address string
	dead    bool
	frozen  bool
	thawed  sync.Cond
	newest  *memoryExchange
}

// maxMemoryNodes is how many addresses a network has at most: links are numbered by their two nodes.
const maxMemoryNodes = 64

var (
	errDied    = errors.New("it died")
	errDropped = errors.New("a chunk was dropped")
)

// NewMemoryNetwork makes a network without nodes.
func NewMemoryNetwork(o MemoryOptions) *MemoryNetwork {
	if o.Queue == 0 {
		o.Queue = 16
	}
	return &MemoryNetwork{options: o, nodes: map[string]*MemoryNode{}, numbers: map[string]int{}, links: map[[2]string]*memoryLink{}}
}

// Node gives the living node of an address, a new one where there is none: the first, or after Kill the process that is started anew. For a seed to replay, nodes are first
// named in the same order.
func (n *MemoryNetwork) Node(address string) *MemoryNode {
	n.mu.Lock()
	defer n.mu.Unlock()
	node := n.nodes[address]
	if node == nil {
		node = &MemoryNode{network: n, address: address}
		node.thawed.L = &n.mu
		n.nodes[address] = node
		n.number(address)
	}
	return node
}

func (n *MemoryNetwork) number(address string) int {
	number, known := n.numbers[address]
	if !known {
		if number = len(n.numbers); number == maxMemoryNodes {
			panic(fmt.Sprintf("allreduce: more than %d nodes", maxMemoryNodes))
		}
		n.numbers[address] = number
	}
	return number
}

// Kill lets a node die, frozen or not: its own calls fail, and its peers hear that it died (where the way is not cut).
func (n *MemoryNetwork) Kill(address string) { n.act(address, (*MemoryNode).kill) }

// Freeze stops a node: its Sends, Recvs, beats and clock stand still, and it answers nobody. Nobody is told.
func (n *MemoryNetwork) Freeze(address string) {
	n.act(address, func(node *MemoryNode) { node.frozen = true })
}

// Thaw lets a frozen node go on.
func (n *MemoryNetwork) Thaw(address string) { n.act(address, (*MemoryNode).thaw) }

func (n *MemoryNetwork) act(address string, do func(*MemoryNode)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if node := n.nodes[address]; node != nil {
		do(node)
		n.wake()
	}
}

// Cut cuts the way between two nodes: nothing arrives any more, and nobody is told.
func (n *MemoryNetwork) Cut(a, b string) { n.setCut(a, b, true) }

// Heal makes the way between two nodes whole: what was sent meanwhile arrives, as far as its stream is still there.
func (n *MemoryNetwork) Heal(a, b string) { n.setCut(a, b, false) }

func (n *MemoryNetwork) setCut(a, b string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range []*memoryLink{n.link(a, b), n.link(b, a)} {
		if l.cut && !cut {
			l.restamp()
		}
		l.cut = cut
		l.moved.Broadcast()
	}
}

// Slow lets chunks travel between two nodes for a time drawn from [0, delay), instead of what the options say.
func (n *MemoryNetwork) Slow(a, b string, delay time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link(a, b).delay, n.link(b, a).delay = delay, delay
}

// Break breaks the stream between two nodes, as the loss of a chunk does.
func (n *MemoryNetwork) Break(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		if node := n.nodes[pair[0]]; node != nil && node.newest != nil {
			node.newest.snap(pair[1])
		}
	}
	n.wake()
}

// Refused is how many chunks arrived after their generation was over, and were refused.
func (n *MemoryNetwork) Refused() (chunks int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		chunks += l.refused
	}
	return chunks
}

// Close gives up what is still on its way, once nobody uses the network any more.
func (n *MemoryNetwork) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		for len(l.queue) > 0 {
			l.refuse()
		}
	}
}

// Standstill returns when the node is not frozen: what else of a simulated process must stand still asks it.
func (m *MemoryNode) Standstill() {
	m.network.mu.Lock()
	defer m.network.mu.Unlock()
	m.standstill()
}

// standstill waits while the node is frozen. It holds the network's lock.
func (m *MemoryNode) standstill() {
	for m.frozen {
		m.thawed.Wait()
	}
}

func (m *MemoryNode) thaw() {
	m.frozen = false
	m.thawed.Broadcast()
}

// kill holds the network's lock.
func (m *MemoryNode) kill() {
	if m.dead {
		return
	}
	m.dead = true
	if m.newest != nil {
		m.newest.end(errDied, true)
	}
	m.thaw()
	if m.network.nodes[m.address] == m {
		delete(m.network.nodes, m.address)
	}
}

// wake lets everyone who waits look again. It holds the network's lock.
func (n *MemoryNetwork) wake() {
	for _, l := range n.links {
		l.moved.Broadcast()
	}
}
