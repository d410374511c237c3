//go:build !linux

package host

// preferHuge does nothing: this system chooses its pages itself.
func preferHuge[E any]([]E) {}
