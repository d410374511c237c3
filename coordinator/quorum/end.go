package quorum

func (f Failure) ours() bool { return f.ID == "" }

// follow watches over a generation.
func follow(v *view) Decision {
	return Decision{Phase: Training, Reason: v.Generation.Reason}
}
