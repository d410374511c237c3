package program

import (
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
)

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
