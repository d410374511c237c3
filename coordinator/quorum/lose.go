package quorum

// findLost finds the seats that are lost, and how that is known.
func (v *view) findLost() {}
