package allreduce

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

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

// connectAll lets nodes open a generation, by rank; what each has applied is its rank and ten times the generation.
func connectAll(ctx context.Context, c []Connector, addresses []string, generation uint64) ([]Transport, error) {
	ts := make([]Transport, len(c))
	err := together(len(c), func(rank int) error {
		t, applied, err := c[rank].Connect(ctx, Peers{Generation: generation, Rank: rank, Addresses: addresses, Applied: uint32(rank) + 10*uint32(generation)})
		if err != nil {
			return err
		}
		for i, k := range applied {
			if k != uint32(i)+10*uint32(generation) {
				return fmt.Errorf("rank %d hears that %v were applied", rank, applied)
			}
		}
		if ts[rank] = t; len(applied) != len(c) || (t == nil) != (len(c) == 1) {
			return fmt.Errorf("rank %d of %d: %d applied, transport %v", rank, len(c), len(applied), t)
		}
		return nil
	})
	return ts, err
}

// Every Connector tells what each member has applied, a trainer alone itself, generation after generation.
func TestApplied(t *testing.T) {
	for _, size := range []int{1, 2, 4} {
		l := mustListen(t, size)
		m := NewMemoryNetwork(MemoryOptions{})
		var servers, nodes []Connector
		for rank := range size {
			servers, nodes = append(servers, l.servers[rank]), append(nodes, m.Node(l.addresses[rank]))
		}
		for name, c := range map[string][]Connector{"grpc": servers, "memory": nodes} {
			for generation := uint64(1); generation <= 3; generation++ {
				ts, err := connectAll(t.Context(), c, l.addresses, generation)
				if err != nil {
					t.Fatalf("%s, %d trainers: %v", name, size, err)
				}
				for _, tr := range ts {
					if tr != nil {
						tr.Close(errOver)
					}
				}
			}
			if _, err := connectAll(t.Context(), c[:1], l.addresses[:1], 3); !errors.Is(err, ErrRefused) {
				t.Errorf("%s: generation 3 again: error %v, want ErrRefused", name, err)
			}
		}
	}
}

// names makes the nodes of a network.
func names(m *MemoryNetwork, n int) (addresses []string, nodes []Connector) {
	for rank := range n {
		addresses = append(addresses, string(rune('a'+rank)))
		nodes = append(nodes, m.Node(addresses[rank]))
	}
	return addresses, nodes
}

// A peer that is not there, or frozen, or cut off is waited for as long as the context says, and named.
func TestConnectNamesWhoIsMissing(t *testing.T) {
	for name, away := range map[string]func(m *MemoryNetwork){
		"never came": func(*MemoryNetwork) {},
		"dead":       func(m *MemoryNetwork) { m.Kill("c") },
		"cut":        func(m *MemoryNetwork) { m.Cut("a", "c"); m.Cut("b", "c") },
		"frozen":     func(m *MemoryNetwork) { m.Freeze("c") },
	} {
		synctest.Test(t, func(t *testing.T) {
			m := NewMemoryNetwork(MemoryOptions{Delay: time.Millisecond})
			addresses, nodes := names(m, 3)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if away(m); name == "frozen" || name == "cut" {
				go nodes[2].Connect(ctx, Peers{Generation: 1, Rank: 2, Addresses: addresses})
			}
			together(2, func(rank int) error {
				_, _, err := nodes[rank].Connect(ctx, Peers{Generation: 1, Rank: rank, Addresses: addresses})
				if missing, ok := LostRank(err); missing != 2 || !ok || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: rank %d gets %v, want rank 2 lost", name, rank, err)
				}
				return nil
			})
			m.Thaw("c")
		})
	}
}

// What is cut arrives once it is healed; a stream breaks by hand, for both; a killed node's address can be a new process's.
func TestFaultsByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemoryNetwork(MemoryOptions{Delay: time.Millisecond})
		addresses, nodes := names(m, 2)
		ts, err := connectAll(t.Context(), nodes, addresses, 1)
		if err != nil {
			t.Fatal(err)
		}
		m.Cut("b", "a")
		for i := range 3 {
			ts[0].Send(1, numbers(0, 1, i, 2))
		}
		got := make(chan time.Time, 3)
		go func() {
			for i := range 3 {
				c, err := ts[1].Recv(0)
				if err == nil {
					err = check(c, numbers(0, 1, i, 2))
				}
				if err != nil {
					t.Error(err)
				}
				got <- time.Now()
			}
		}()
		time.Sleep(time.Minute)
		if len(got) != 0 {
			t.Error("something came through the cut")
		}
		healed := time.Now()
		m.Heal("a", "b")
		for range 3 {
			if at := <-got; at.Before(healed) || at.After(healed.Add(time.Second)) {
				t.Errorf("it arrived %v after the cut was healed", at.Sub(healed))
			}
		}
		m.Break("a", "b")
		for rank, tr := range ts {
			if _, err := tr.Recv(1 - rank); !errors.Is(err, ErrPeerLost) || !errors.Is(err, errDropped) {
				t.Errorf("rank %d of a broken stream receives %v", rank, err)
			}
		}
		m.Kill("b")
		ts[0].Close(errOver)
		if _, _, err := nodes[1].Connect(t.Context(), Peers{Generation: 9, Rank: 0, Addresses: addresses}); !errors.Is(err, ErrClosed) {
			t.Errorf("a dead node connects: error %v", err)
		}
		nodes[1] = m.Node("b")
		if ts, err = connectAll(t.Context(), nodes, addresses, 2); err != nil {
			t.Fatalf("the address's next process: %v", err)
		}
		for _, tr := range ts {
			tr.Close(errOver)
		}
	})
}

// stale has a chunk of generation 1, iteration 1 on its way from rank 1 to rank 0 when generation 2 does iteration 2, and gives the sums that rank 0 gets.
func stale(t *testing.T) (m *MemoryNetwork, sum float32, err error) {
	m = NewMemoryNetwork(MemoryOptions{})
	addresses, nodes := names(m, 2)
	ts, err := connectAll(t.Context(), nodes, addresses, 1)
	if err != nil {
		t.Fatal(err)
	}
	late := numbers(1, 0, 0, 1)
	late.Iteration, late.Bucket, late.First, late.End, late.Data.Writable()[0] = 1, 0, 1, 2, 1000
	m.Slow("a", "b", time.Second)
	if err := ts[1].Send(0, late); err != nil {
		t.Fatal(err)
	}
	for _, tr := range ts {
		tr.Close(errOver)
	}
	m.Slow("a", "b", 0)
	if ts, err = connectAll(t.Context(), nodes, addresses, 2); err != nil {
		t.Fatal(err)
	}
	rs, sums := reducers(ts, Options{}), make([]float32, 2)
	err = together(2, func(rank int) error {
		time.Sleep(time.Duration(rank) * time.Second) // so that the late one comes first
		rs[rank].Begin(2)
		rs[rank].Start(0, [][]float32{{1}})
		return rs[rank].Wait(0, sums[rank:rank+1])
	})
	for _, r := range rs {
		r.Abort(errOver)
	}
	return m, sums[0], err
}

// A chunk that its generation is too late for is refused, and the generation that goes on is none the worse; a network that let it in would be found by its sums.
func TestAStaleChunkIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if m, sum, err := stale(t); err != nil || sum != 2 || m.Refused() != 1 {
			t.Errorf("sum %v, %d chunks refused, error %v, want 2, 1, none", sum, m.Refused(), err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		defer Mutate(AcceptStale)()
		if _, sum, err := stale(t); err == nil && sum == 2 {
			t.Error("the mutant gives the right sum: nothing here would find it")
		}
	})
}

// A reducer that adds trainers up and not shards gives other bits.
func TestTheMutantOverTrainersShows(t *testing.T) {
	j := faultyJob()
	if err := j.run(memoryTransports(4, MemoryOptions{})); err != nil {
		t.Fatal(err)
	}
	defer Mutate(SumOverTrainers)()
	if err := j.run(memoryTransports(4, MemoryOptions{})); err == nil || !strings.Contains(err.Error(), "sum") {
		t.Errorf("the mutant's job ends with %v, want other sums", err)
	}
}
