package program

import (
	"cmp"
	"fmt"
)

// Rooms are where the samples of the next input go, by member, the first shards first: each is a Training's Room. They are valid until the next call.
func (t *Team) Rooms() []Samples {
	for i, m := range t.members {
		t.rooms[i] = m.Room()
	}
	return t.rooms
}

// Send makes what is in the Rooms the input of the next Step, once SendSoft has brought the noisy soft labels. Where one member's is refused, no Step may be done before another Send.
func (t *Team) Send() (err error) {
	for _, m := range t.members {
		err = cmp.Or(err, m.Send())
	}
	return err
}

// SendSoft brings the noisy soft labels [n][classes] of the samples that were sent last; nil where no loss takes them.
func (t *Team) SendSoft(soft []float32) error {
	if t.First().in.soft == nil {
		return nil
	}
	for _, m := range t.members {
		n := min(m.in.soft.Len, len(soft))
		if err := m.SendSoft(soft[:n]); err != nil {
			return err
		}
		soft = soft[n:]
	}
	if len(soft) > 0 {
		return fmt.Errorf("the input has %d soft labels too many", len(soft))
	}
	return nil
}
