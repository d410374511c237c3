package program

import (
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
)

// Sums on the devices. A team that has every shard of the run needs nobody else for a sum, and where its devices reach each other, not the host either. Each device adds up the subtrees of the fixed tree that lie in its own
// shards, on a stream beside the step. A node whose children lie on two devices is added up on the left one's, which fetches the right one's sum. The root is on the first device, and all fetch it. That is the order of the all-reduce, so
// the bits are the same. For n floats on D devices each but the first sends n floats for each maximal subtree in its shards (one, where they are a power of two, aligned), and the first sends n to each of the others.
//
// Nothing here waits for the host. What a stream writes that another reads is not written again before that has been read: a fetch of an iteration is before the root, the root before every device's own fetch of it, and that before
// whatever its stream is given in the next iteration, and before the first device makes the next root.

// links are the streams beside the members' steps, and what they do for each sum.
type links struct {
	streams []kernel.Stream // by member
	meets   []*meet         // by collective
}

// meet is how a reduction is summed by the members alone.
type meet struct {
	ready []kernel.Mark      // by member, of the step: its shards are there
	local []kernel.Recording // by member: the subtrees in its own shards; nil: there are none of more than one shard
	moves []move             // between members, in order
	root  kernel.Memory      // of the first member
	whole []kernel.Mark      // by other member, of the first link: the root is there
	done  []kernel.Mark      // by member, of its link: the sum is where the commit takes it from
}

// move is one step of a sum over several members, on the link of member at: an addition, or where there is none a fetch from another.
type move struct {
	at     int
	add    kernel.Kernel
	args   []kernel.Memory // of the addition: left, right, sum
	from   int             // of the fetch,
	there  kernel.Mark     // which waits for that
	dst    kernel.Memory
	source kernel.Memory
}

// link gives the team its links, where it can have them.
func (t *Team) link() error {
	groups := 0
	l := &links{}
	for _, m := range t.members {
		groups += m.config.Groups
		if !m.machine.apart {
			return nil
		}
		l.streams = append(l.streams, m.machine.set.NewStream())
	}
	if groups != t.First().config.Shards {
		return nil
	}
	if all, err := l.reach(); err != nil || !all {
		return err
	}
	for _, j := range t.joints {
		s := &sum{team: t, links: l, joint: j, meet: &meet{}}
		if err := s.plan(); err != nil {
			return fmt.Errorf("sums of %d floats on the devices: %w", j.parts[0].Len, err)
		}
		l.meets = append(l.meets, s.meet)
	}
	t.links = l
	return nil
}

// reach says whether every device reaches every other.
func (l *links) reach() (bool, error) {
	for _, to := range l.streams {
		n, is := to.(kernel.Neighbour)
		if !is {
			return false, nil
		}
		for _, from := range l.streams {
			if all, err := n.Reaches(from); err != nil || !all {
				return false, err
			}
		}
	}
	return true, nil
}

// meet enqueues the sum of a reduction whose shards are ready on every member.
func (t *Team) meet(j *joint) {
	l := t.links
	s := l.meets[j.id]
	for _, fetched := range s.done[1:] {
		fetched.Before(l.streams[0])
	}
	for i, m := range t.members {
		s.ready[i].Set(m.machine.stream)
		s.ready[i].Before(l.streams[i])
		if r := s.local[i]; r != nil {
			r.Replay()
		}
	}
	for i := range s.moves {
		m := &s.moves[i]
		if m.add != nil {
			m.add.Launch(l.streams[m.at], m.args)
			continue
		}
		m.there.Set(l.streams[m.from])
		m.there.Before(l.streams[m.at])
		l.fetch(m.at, m.dst, m.from, m.source)
	}
	for i := range t.members {
		if i > 0 {
			s.whole[i].Set(l.streams[0])
			s.whole[i].Before(l.streams[i])
		}
		l.fetch(i, j.parts[i].Out.Memory, 0, s.root)
		s.done[i].Set(l.streams[i])
	}
}

func (l *links) fetch(at int, dst kernel.Memory, from int, src kernel.Memory) {
	l.streams[at].(kernel.Neighbour).Fetch(dst, l.streams[from], src)
}

// met has the members' steps wait for a sum.
func (t *Team) met(j *joint) {
	for i, m := range t.members {
		t.links.meets[j.id].done[i].Before(m.machine.stream)
	}
}
