//go:build !linux

package wire

// NewSegment makes memory to be shared, where there is a way to do so that leaves nothing behind.
func NewSegment() (*Segment, error) { return nil, errNoSegment }

// OpenSegment opens a peer's memory.
func OpenSegment(*Share) (*Segment, error) { return nil, errNoSegment }
