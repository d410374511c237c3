package kernel

// Neighbour is what a Stream may be too: its device copies from the memory of another by itself, without the host.
type Neighbour interface {
	// Reaches says whether Fetch can copy from what `from` works on, and makes that ready. Where it can, a Mark that is set on either can be waited for by the other (Before), by one stream, and then not on the host.
	Reaches(from Stream) (bool, error)
	// Fetch enqueues a copy of src, of the set of `from`, which it Reaches, into dst, its own: of one type and length. It is not recorded.
	Fetch(dst Memory, from Stream, src Memory)
}
