package quorum

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Two trainers that live and miss each other in two generations running cannot reach each other. All others can go on if one of the two is kept
// out for a while: of many such pairs, as few trainers as can be found that are in all of them.

// bench finds who is kept out. A trainer that is out already stays so, lest its peer be changed for it, and one that leaves goes before one that does
// not; of the others the one in most pairs goes first, on a tie the later id.
func (v *view) bench() {
	pairs := v.apart()
	var order []string // of benching
	put := func(id string) {
		order = append(order, id)
		v.benched[id] = ""
	}
	open := func(p [2]string) bool { return !v.out(p[0]) && !v.out(p[1]) }
	for _, p := range pairs {
		switch a, b := v.claim(p[0]), v.claim(p[1]); {
		case !open(p):
		case a < b:
			put(p[0])
		case a > b:
			put(p[1])
		}
	}
	for {
		in := map[string]int{}
		for _, p := range pairs {
			if open(p) {
				in[p[0]]++
				in[p[1]]++
			}
		}
		if len(in) == 0 {
			break
		}
		worst := ""
		for _, id := range slices.Sorted(maps.Keys(in)) {
			if in[id] >= in[worst] {
				worst = id
			}
		}
		put(worst)
	}
	// One whose peers are all out by now need not be; the others are told of one that they miss.
	for _, id := range order {
		peers := v.peers(pairs, id)
		in := slices.DeleteFunc(slices.Clone(peers), v.out)
		if len(in) == 0 {
			delete(v.benched, id)
			continue
		}
		v.benched[id] = in[0]
	}
}

func (v *view) out(id string) bool {
	_, ok := v.benched[id]
	return ok
}

// apart are the pairs of trainers that live and missed each other in two generations running, the last time less than Benched ago; by id.
func (v *view) apart() [][2]string {
	missed := map[[2]string]map[uint64]time.Duration{} // pair, generation: how long ago
	for _, c := range v.Complaints {
		if c.From == c.To || !v.lives(c.From) || !v.lives(c.To) {
			continue
		}
		if missed[c.pair()] == nil {
			missed[c.pair()] = map[uint64]time.Duration{}
		}
		missed[c.pair()][c.Generation] = c.Ago
	}
	var out [][2]string
	for p, in := range missed {
		for g, ago := range in {
			if _, before := in[g-1]; before && ago < v.Benched {
				out = append(out, p)
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	return out
}

// stays says of a trainer that it is in the generation and not lost.
func (v *view) stays(id string) bool { return v.seat(id) != nil && v.lost[id] == "" }

// claim is how much is lost if a trainer is kept out: nothing if it is out already, little if it leaves.
func (v *view) claim(id string) int {
	switch {
	case !v.stays(id):
		return 0
	case v.trainer(v.seat(id).Member) != nil && v.trainer(v.seat(id).Member).Leaving != "":
		return 1
	}
	return 2
}

// lives says of a trainer that it could be in the next generation; one that came back as another process is the same to its peers.
func (v *view) lives(id string) bool {
	return v.stays(id) || slices.ContainsFunc(v.there, func(t Trainer) bool { return t.ID == id })
}

func (v *view) peers(pairs [][2]string, id string) []string {
	var out []string
	for _, p := range pairs {
		switch id {
		case p[0]:
			out = append(out, p[1])
		case p[1]:
			out = append(out, p[0])
		}
	}
	return out
}

// keptOut says in words why a benched trainer is.
func (v *view) keptOut(id string) string {
	return fmt.Sprintf("trainer %v is kept out for %v: it and trainer %v live and cannot reach each other", v.member(id), v.Benched, v.member(v.benched[id]))
}
