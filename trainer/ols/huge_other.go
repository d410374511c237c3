//go:build !linux

package ols

// preferHuge does nothing: this system chooses its pages itself.
func preferHuge([]float64) {}
