//go:build !amd64 || purego

package cpu

// fast are the tilers in assembly: none here.
func fast() []tiler { return nil }
