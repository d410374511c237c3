package program

import (
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
)

// Sums on the devices. A team that has every shard of the run needs nobody else for a sum, and where its devices reach each other, not the host either. Each device adds up the subtrees of the fixed tree that lie in its own
// shards, on a stream beside the step. A node whose children lie on two devices is added up on the left one's, which fetches the right one's sum. The root is on the first device, and all fetch it. That is the order of the all-reduce, so
// the bits are the same. For n floats on D devices each but the last sends n floats to the left at most log2(D) times, and the first sends D n.
//
// Nothing here waits for the host. What a stream writes that another reads is not written again before that has been read: a fetch of an iteration is before the root, the root before every device's own fetch of it, and that before
// whatever its stream is given in the next iteration.

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

// sum is a meet in the making.
type sum struct {
	team  *Team
	links *links
	joint *joint
	*meet
	first []int // by member: its first shard; then their number
	adds  []kernel.Kernel
	own   [][]move // by member, of its own shards alone
}

// node is where the sum of some shards is; own says that it may be added to.
type node struct {
	at     int
	memory kernel.Memory
	own    bool
}

func (s *sum) plan() error {
	s.own = make([][]move, len(s.team.members))
	n := s.joint.parts[0].Len
	at := 0
	for i, m := range s.team.members {
		k, err := m.machine.set.Prepare(kernel.Elementwise(kernel.Add, n))
		if err != nil {
			return err
		}
		s.adds, s.first = append(s.adds, k), append(s.first, at)
		at += m.config.Groups
		stream := s.links.streams[i]
		s.ready, s.done, s.whole = append(s.ready, stream.NewMark()), append(s.done, stream.NewMark()), append(s.whole, s.links.streams[0].NewMark())
	}
	s.first = append(s.first, at)
	root, err := s.over(0, at)
	if err != nil {
		return err
	}
	s.root = root.memory
	for i, moves := range s.own {
		var r kernel.Recording
		if len(moves) > 0 {
			r = s.links.streams[i].Record(fmt.Sprintf("the sum of collective %d over %d shards", s.joint.id, len(moves)+1), func() {
				for _, m := range moves {
					m.add.Launch(s.links.streams[i], m.args)
				}
			})
		}
		s.local = append(s.local, r)
	}
	return nil
}

// over plans the sum of shards [a, b).
func (s *sum) over(a, b int) (node, error) {
	if b-a == 1 {
		at := 0
		for s.first[at+1] <= a {
			at++
		}
		r := s.joint.parts[at]
		from := (a-s.first[at])*r.split + r.From
		return node{at: at, memory: r.In.Memory.Slice(from, from+r.Len)}, nil
	}
	split := kernel.Split(a, b)
	left, err := s.over(a, split)
	if err != nil {
		return left, err
	}
	right, err := s.over(split, b)
	if err != nil {
		return right, err
	}
	if left.at != right.at {
		if right, err = s.fetched(left.at, right); err != nil {
			return right, err
		}
	}
	return s.added(left, right, b <= s.first[left.at+1])
}

// fetched plans the way of a node to another member.
func (s *sum) fetched(to int, n node) (node, error) {
	dst, err := s.room(to)
	s.moves = append(s.moves, move{at: to, from: n.at, there: s.links.streams[n.at].NewMark(), dst: dst, source: n.memory})
	return node{to, dst, true}, err
}

// added plans the sum of two nodes of one member; local says that all their shards are that member's.
func (s *sum) added(left, right node, local bool) (node, error) {
	out, err := node{left.at, left.memory, true}, error(nil)
	switch {
	case left.own:
	case right.own:
		out.memory = right.memory
	default:
		out.memory, err = s.room(left.at)
	}
	m := move{at: left.at, add: s.adds[left.at], args: []kernel.Memory{left.memory, right.memory, out.memory}}
	if local {
		s.own[left.at] = append(s.own[left.at], m)
	} else {
		s.moves = append(s.moves, m)
	}
	return out, err
}

func (s *sum) room(at int) (kernel.Memory, error) {
	return s.team.members[at].machine.alloc(kernel.Real, s.joint.parts[0].Len)
}

// meet enqueues the sum of a reduction whose shards are ready on every member.
func (t *Team) meet(j *joint) {
	l := t.links
	s := l.meets[j.id]
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
