package kernel

// Recording is work of a stream that was enqueued once, to be told, and can be enqueued as a whole any number of times.
type Recording interface {
	// Replay enqueues it. It allocates nothing, once it was replayed a few times. What the recording reads of memory, pinned or not, is what is there when the work is done.
	Replay()
}

// Mark is a place in a stream, for other streams and the host to wait for. One that was never set is behind them all. One goroutine uses it at a time.
type Mark interface {
	// Set moves it behind all that s was given so far.
	Set(s Stream)
	// Before has whatever s is given from now on wait for the mark.
	Before(s Stream)
	// Wait waits on the host, any goroutine of it, while others enqueue more: what was enqueued before the mark is done. An error is the device's, and final.
	Wait() error
}

// Pinned is memory of the host that a device reads and writes by itself, while the host goes on. Host is []float32, []uint8 or []int32, for as long as the Pinned is reachable.
type Pinned struct{ Host any }
