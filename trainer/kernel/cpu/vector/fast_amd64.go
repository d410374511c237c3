//go:build amd64 && !purego

package vector

// fast are the primitives in assembly that this processor can run, the slowest first.
func fast() []*Set { return nil }
