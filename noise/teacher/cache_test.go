package teacher

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// naive is a least-recently-used cache that is plain to see: the newest key last.
type naive struct {
	keys     []uint64
	values   map[uint64]float32
	capacity int
}

func (n *naive) use(key uint64) {
	n.keys = append(slices.DeleteFunc(n.keys, func(k uint64) bool { return k == key }), key)
}

func (n *naive) put(key uint64, v float32) {
	if n.capacity == 0 {
		return
	}
	if _, there := n.values[key]; !there {
		if len(n.keys) == n.capacity {
			delete(n.values, n.keys[0])
			n.keys = n.keys[1:]
		}
		n.use(key)
	}
	n.values[key] = v
}

func TestCacheForgetsTheLeastRecentlyUsed(t *testing.T) {
	const classes = 2
	rapid.Check(t, func(t *rapid.T) {
		capacity := rapid.IntRange(0, 6).Draw(t, "capacity")
		c := newCache(uint64(capacity)*entryBytes(classes)+7, classes, 1000)
		if int(c.capacity) != capacity {
			t.Fatalf("%d entries' bytes hold %d", capacity, c.capacity)
		}
		n := naive{values: map[uint64]float32{}, capacity: capacity}
		got := make([]float32, classes)
		for range rapid.IntRange(1, 80).Draw(t, "operations") {
			key := rapid.Uint64Range(0, 9).Draw(t, "key")
			if rapid.Bool().Draw(t, "put") {
				v := rapid.Float32Range(-9, 9).Draw(t, "value")
				c.put(key, []float32{v, -v})
				n.put(key, v)
			} else {
				want, there := n.values[key]
				if c.get(key, got) != there {
					t.Fatalf("key %d is there: %v, wrongly", key, !there)
				}
				if there {
					n.use(key)
					if got[0] != want || got[1] != -want {
						t.Fatalf("key %d holds %v, want %v", key, got, want)
					}
				}
			}
			if int(c.used) != len(n.keys) || len(c.slots) != len(n.keys) {
				t.Fatalf("%d entries, want %d", c.used, len(n.keys))
			}
		}
	})
}

func TestCacheTakesNoMoreThanThereIs(t *testing.T) {
	if c := newCache(1<<40, 10, 5); c.capacity != 5 {
		t.Errorf("room for %d entries where there are 5", c.capacity)
	}
}
