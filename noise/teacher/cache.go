package teacher

// cache keeps the soft labels of views, the least recently used leaving first. Its memory is one slab, taken at the start.
type cache struct {
	classes  int
	slots    map[uint64]int32
	keys     []uint64
	before   []int32 // ring of slots by use; the slot 0 is the sentinel: after[0] the newest, before[0] the oldest
	after    []int32
	logits   []float32 // [capacity+1][classes]
	used     int32
	capacity int32
}

// entryBytes is what one entry costs: its logits, and about 40 bytes of bookkeeping.
func entryBytes(classes int) uint64 { return uint64(4*classes) + 40 }

// newCache holds at most so many bytes, and no more than most entries.
func newCache(bytes uint64, classes int, most uint64) *cache {
	n := int32(min(bytes/entryBytes(classes), most, 1<<30))
	return &cache{classes: classes, slots: make(map[uint64]int32, n), capacity: n, keys: make([]uint64, n+1), before: make([]int32, n+1), after: make([]int32, n+1), logits: make([]float32, int(n+1)*classes)}
}

func (c *cache) row(slot int32) []float32 {
	return c.logits[int(slot)*c.classes : (int(slot)+1)*c.classes]
}

// get copies the soft label of key to dst, if it is there.
func (c *cache) get(key uint64, dst []float32) bool {
	slot, there := c.slots[key]
	if !there {
		return false
	}
	c.unlink(slot)
	c.linkNewest(slot)
	copy(dst, c.row(slot))
	return true
}

// put keeps the soft label of key, which is not there.
func (c *cache) put(key uint64, logits []float32) {
	if c.capacity == 0 {
		return
	}
	if slot, there := c.slots[key]; there {
		copy(c.row(slot), logits)
		return
	}
	slot := c.used + 1
	if c.used == c.capacity {
		slot = c.before[0]
		c.unlink(slot)
		delete(c.slots, c.keys[slot])
	} else {
		c.used++
	}
	c.keys[slot] = key
	c.slots[key] = slot
	copy(c.row(slot), logits)
	c.linkNewest(slot)
}

func (c *cache) entries() uint64 { return uint64(c.used) }

func (c *cache) most() uint64 { return uint64(c.capacity) }

func (c *cache) close() error { return nil }

func (c *cache) unlink(slot int32) {
	c.after[c.before[slot]] = c.after[slot]
	c.before[c.after[slot]] = c.before[slot]
}

func (c *cache) linkNewest(slot int32) {
	newest := c.after[0]
	c.before[slot], c.after[slot] = 0, newest
	c.after[0], c.before[newest] = slot, slot
}
