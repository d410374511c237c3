// Package chaos is what `dither chaos` does to a run: a schedule of faults, which is pure data from a seed, and proxies between processes that cut and delay.
package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Kind is a kind of fault.
type Kind string

// The kinds, by their words in --faults.
const (
	Kill        Kind = "kill"        // a trainer is killed, and another comes in its place
	Freeze      Kind = "freeze"      // a trainer stops for a while, and does not know
	Term        Kind = "term"        // a trainer is asked to leave, and another comes in its place
	Cut         Kind = "cut"         // two processes cannot reach each other for a while
	Delay       Kind = "delay"       // what two processes say to each other takes long for a while
	Join        Kind = "join"        // one more trainer comes
	Coordinator Kind = "coordinator" // a coordinator is killed, or frozen, and comes back
	Etcd        Kind = "etcd"        // a member of etcd is killed, or frozen, and comes back
	Teacher     Kind = "teacher"     // a teacher-logit service is killed, and comes back
	Disk        Kind = "disk"        // the disk of the coordinators is full; what the run came to is resumed
)

// Kinds are all of them.
var Kinds = []Kind{Kill, Freeze, Term, Cut, Delay, Join, Coordinator, Etcd, Teacher, Disk}

// weights are how often a kind is drawn, beside the others.
var weights = map[Kind]int{Kill: 5, Freeze: 3, Term: 2, Cut: 4, Delay: 2, Join: 2, Coordinator: 3, Etcd: 2, Teacher: 2}

// diskOneIn is how many schedules there are for one with a full disk: the run ends there, and begins anew.
const diskOneIn = 6

// Shape is the run that a schedule is for.
type Shape struct {
	Trainers     int           // at the beginning
	Most         int           // that there may be at once: Join adds up to it
	Coordinators int           //
	Etcd         int           //
	Teachers     int           //
	Length       time.Duration // of the schedule; every fault is over by then
	Faults       []Kind        // that may be drawn
}

// Fault is one thing that is done to a run.
type Fault struct {
	Kind   Kind
	At     time.Duration // since the first iteration
	For    time.Duration // after which it is over: a process that was killed comes back, a link is whole; 0: at once
	Target string        // "trainer-1", by its place: whichever life is in it
	Peer   string        // Cut, Delay: the other end; "": everybody
	Frozen bool          // Coordinator, Etcd: stopped for a while in place of killed
	Silent bool          // Cut: nothing comes through, in place of connections that break
	Delay  time.Duration // Delay: how long everything takes
}

// end is when it is over.
func (f Fault) end() time.Duration { return f.At + f.For }

// takesDown says whether its target is not there, or does nothing, until it is over.
func (f Fault) takesDown() bool {
	switch f.Kind {
	case Kill, Freeze, Term, Coordinator, Etcd, Teacher:
		return true
	}
	return false
}

// Schedule is everything that is done to one run.
type Schedule struct {
	Seed   uint64
	Faults []Fault // by time
}

// Draw makes the schedule of a seed. There is always a trainer that no fault has taken down, and every process that was taken down comes back: so the run can go on, and must.
func Draw(seed uint64, s Shape) Schedule {
	d := &drawer{Rand: rand.New(rand.NewPCG(seed, 0x646974686572)), shape: s, trainers: s.Trainers}
	if slices.Contains(s.Faults, Disk) && d.IntN(diskOneIn) == 0 {
		d.add(Fault{Kind: Disk, At: d.between(s.Length/4, s.Length*3/4)})
	}
	for at := d.between(100*time.Millisecond, time.Second); at < s.Length; at += d.between(100*time.Millisecond, 1200*time.Millisecond) {
		if f, ok := d.fault(at); ok {
			d.add(f)
		}
	}
	slices.SortStableFunc(d.faults, func(a, b Fault) int { return int(a.At - b.At) })
	return Schedule{Seed: seed, Faults: d.faults}
}

// drawer draws one schedule.
type drawer struct {
	*rand.Rand
	shape    Shape
	trainers int // places of trainers so far
	faults   []Fault
}

func (d *drawer) add(f Fault) { d.faults = append(d.faults, f) }

// between is a time from low on, below high, in whole milliseconds.
func (d *drawer) between(low, high time.Duration) time.Duration {
	ms := max(1, int64((high-low)/time.Millisecond))
	return low + time.Duration(d.Int64N(ms))*time.Millisecond
}

// fault draws one that begins at a time; false where the one drawn would break what the promises take for granted.
func (d *drawer) fault(at time.Duration) (Fault, bool) {
	f := Fault{Kind: d.kind(), At: at, For: d.between(200*time.Millisecond, 2500*time.Millisecond)}
	f.For = min(f.For, d.shape.Length-at)
	switch f.Kind {
	case Kill, Freeze, Term:
		f.Target = place("trainer", d.IntN(d.trainers))
		return f, !d.down(f) && d.somebodyElse(f)
	case Coordinator, Etcd:
		f.Target = place(string(f.Kind), d.IntN(d.count(f.Kind)))
		f.Frozen = d.IntN(3) == 0
		return f, !d.down(f)
	case Teacher:
		f.Target = place("teacher", d.IntN(d.shape.Teachers))
		return f, !d.down(f)
	case Join:
		if d.trainers == d.shape.Most {
			return f, false
		}
		f.Target, f.For = place("trainer", d.trainers), 0
		d.trainers++
		return f, true
	case Cut, Delay:
		ends := d.places()
		f.Target = ends[d.IntN(len(ends))]
		if d.IntN(3) > 0 {
			f.Peer = ends[d.IntN(len(ends))]
		}
		f.Silent = f.Kind == Cut && d.IntN(2) == 0
		if f.Kind == Delay {
			f.Delay = d.between(10*time.Millisecond, 150*time.Millisecond)
		}
		return f, f.Peer != f.Target
	}
	return f, false
}

// kind draws among those that are allowed and have a target.
func (d *drawer) kind() Kind {
	var all []Kind
	for _, k := range Kinds {
		if slices.Contains(d.shape.Faults, k) && d.count(k) > 0 {
			all = append(all, slices.Repeat([]Kind{k}, weights[k])...)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return all[d.IntN(len(all))]
}

// count is how many targets a kind has.
func (d *drawer) count(k Kind) int {
	switch k {
	case Coordinator:
		return d.shape.Coordinators
	case Etcd:
		return d.shape.Etcd
	case Teacher:
		return d.shape.Teachers
	}
	return d.trainers
}

// places are all processes.
func (d *drawer) places() []string {
	var all []string
	for _, k := range []struct {
		name string
		n    int
	}{{"trainer", d.trainers}, {"coordinator", d.shape.Coordinators}, {"etcd", d.shape.Etcd}, {"teacher", d.shape.Teachers}} {
		for i := range k.n {
			all = append(all, place(k.name, i))
		}
	}
	return all
}

func place(role string, i int) string { return fmt.Sprintf("%s-%d", role, i) }

// down says whether a fault's target is taken down by another while it lasts.
func (d *drawer) down(f Fault) bool { return d.downDuring(f.Target, f.At, f.end()) }

func (d *drawer) downDuring(target string, from, to time.Duration) bool {
	return slices.ContainsFunc(d.faults, func(o Fault) bool {
		return o.takesDown() && o.Target == target && o.At <= to && from <= o.end()
	})
}

// somebodyElse says whether another trainer is there all the time that a fault lasts.
func (d *drawer) somebodyElse(f Fault) bool {
	for i := range d.trainers {
		other := place("trainer", i)
		joins := slices.ContainsFunc(d.faults, func(o Fault) bool { return o.Kind == Join && o.Target == other && o.At > f.At })
		if other != f.Target && !joins && !d.downDuring(other, f.At, f.end()) {
			return true
		}
	}
	return false
}

// MayLoseRecords says whether every one of the trainers that a run begins with may be gone before any coordinator had the records of its last iterations. State is
// copied from one trainer to the next, and records are not: the parameters are the same then, and some lines of metrics.jsonl are missing.
func (s Schedule) MayLoseRecords(trainers int) bool {
	gone, silent := map[string]bool{}, false
	for _, f := range s.Faults {
		switch f.Kind {
		case Kill, Term:
			gone[f.Target] = true
		case Coordinator, Etcd, Cut, Delay:
			silent = true
		}
	}
	for i := range trainers {
		if !gone[place("trainer", i)] {
			return false
		}
	}
	return silent
}

// String is the schedule in words, a line a fault.
func (s Schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "schedule of seed %d\n", s.Seed)
	for _, f := range s.Faults {
		fmt.Fprintf(&b, "  %5.2f s  %s\n", f.At.Seconds(), f)
	}
	return b.String()
}

// String is a fault in words.
func (f Fault) String() string {
	lasts := fmt.Sprintf("%.2f s", f.For.Seconds())
	with := "everybody"
	if f.Peer != "" {
		with = f.Peer
	}
	switch {
	case f.Kind == Freeze || f.Frozen:
		return fmt.Sprintf("%s is frozen for %s", f.Target, lasts)
	case f.Kind == Term:
		return fmt.Sprintf("%s is asked to leave, and comes back after %s", f.Target, lasts)
	case f.Kind == Join:
		return fmt.Sprintf("%s joins", f.Target)
	case f.Kind == Disk:
		return "the coordinators' disk is full; the run is resumed once it has ended"
	case f.Kind == Delay:
		return fmt.Sprintf("what %s and %s say to each other takes %v more, for %s", f.Target, with, f.Delay, lasts)
	case f.Kind == Cut && f.Silent:
		return fmt.Sprintf("nothing comes through between %s and %s for %s", f.Target, with, lasts)
	case f.Kind == Cut:
		return fmt.Sprintf("connections between %s and %s break for %s", f.Target, with, lasts)
	}
	return fmt.Sprintf("%s is killed, and comes back after %s", f.Target, lasts)
}

// ParseKinds reads --faults.
func ParseKinds(text string) ([]Kind, error) {
	var out []Kind
	for word := range strings.SplitSeq(text, ",") {
		k := Kind(strings.TrimSpace(word))
		if !slices.Contains(Kinds, k) {
			return nil, fmt.Errorf("there is no fault %q; there are %v", word, Kinds)
		}
		out = append(out, k)
	}
	return out, nil
}
