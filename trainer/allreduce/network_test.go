package allreduce

import "fmt"

// memory is one generation of n ranks of a MemoryNetwork, whose nodes are memory:0 and so on.
type memory struct {
	*MemoryNetwork
	ranks []Transport
}

// newMemory has the generation begun at once: nobody need wait for a hello.
func newMemory(n int, o MemoryOptions) *memory {
	m := &memory{MemoryNetwork: NewMemoryNetwork(o)}
	addresses := make([]string, n)
	for rank := range n {
		addresses[rank] = fmt.Sprintf("memory:%d", rank)
		m.Node(addresses[rank])
	}
	for rank, address := range addresses {
		node := m.Node(address)
		m.mu.Lock()
		x, err := node.begin(Peers{Generation: 1, Rank: rank, Addresses: addresses})
		m.mu.Unlock()
		if err != nil {
			panic(err)
		}
		m.ranks = append(m.ranks, x)
	}
	return m
}

func (m *memory) Rank(rank int) Transport { return m.ranks[rank] }

func memoryTransports(n int, o MemoryOptions) []Transport { return newMemory(n, o).ranks }
