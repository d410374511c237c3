//go:build !amd64 || purego

package vector

// fast are the primitives in assembly: none here.
func fast() []*Set { return nil }
