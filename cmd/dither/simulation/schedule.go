package simulation

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Kind is what befalls a process or a link.
type Kind string

// Kinds of events.
const (
	Kill       Kind = "kill"       // Who stops at once, and says nothing
	Start      Kind = "start"      // a new process of host Who, under the same id
	Drain      Kind = "drain"      // Who is asked to leave, as by SIGTERM
	Freeze     Kind = "freeze"     // Who stands still For so long: its network, its leases, its clock of work
	Cut        Kind = "cut"        // nothing passes between Who and Other For so long, and nobody is told
	Break      Kind = "break"      // the exchange's stream between Who and Other breaks
	Slow       Kind = "slow"       // the exchange between Who and Other takes up to For a chunk, from now on
	TeacherOff Kind = "teacher"    // no teacher-logit service answers For so long
	EtcdOff    Kind = "etcd"       // no etcd answers For so long
	Close      Kind = "close"      // coordinator Who is ended in order
	StartCoord Kind = "coordinate" // a new coordinator of host Who
)

// etcdHost is etcd as an end of a cut.
const etcdHost = "etcd"

// Event is one thing that happens.
type Event struct {
	At    time.Duration // since the beginning
	Kind  Kind
	Who   string // "t0" a trainer, "c0" a coordinator
	Other string
	For   time.Duration
}

func (e Event) String() string {
	at := fmt.Sprintf("%7.3f s: ", e.At.Seconds())
	switch e.Kind {
	case Kill:
		return at + e.Who + " is killed"
	case Start, StartCoord:
		return at + e.Who + " is started"
	case Drain:
		return at + e.Who + " is asked to leave"
	case Freeze:
		return at + fmt.Sprintf("%s is frozen for %v", e.Who, e.For)
	case Cut:
		return at + fmt.Sprintf("%s and %s are cut off from each other for %v", e.Who, e.Other, e.For)
	case Break:
		return at + fmt.Sprintf("the stream between %s and %s breaks", e.Who, e.Other)
	case Slow:
		return at + fmt.Sprintf("chunks between %s and %s take up to %v", e.Who, e.Other, e.For)
	case TeacherOff:
		return at + fmt.Sprintf("no teacher-logit service answers for %v", e.For)
	case EtcdOff:
		return at + fmt.Sprintf("etcd is away for %v", e.For)
	case Close:
		return at + e.Who + " is ended in order"
	}
	return at + string(e.Kind)
}

// Schedule is one run with all that befalls it: pure data, a function of its seed.
type Schedule struct {
	Seed            uint64
	Shards          int
	Iterations      uint32
	Start, Min, Max int
	Candidates      int           // coordinators c0, c1, ... from the beginning; the first to stand leads
	Compute         time.Duration // of an iteration's parts
	Delay           time.Duration // up to which a chunk of the exchange travels
	Travel          time.Duration // up to which any other message travels
	LabelDelay      time.Duration // up to which labels are waited for
	ChunkFloats     int
	CheckpointEvery uint32
	EvalEvery       uint32
	Lease           time.Duration // of coordinators and trainers
	LateKill        bool          // the coordinator that ended the run is killed at once
	Events          []Event       // by time
	Healed          time.Duration // when every fault is over, and what is missing is started
}

func (s Schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d iterations of %d shards, %d trainers at first, then %d to %d, %d coordinators; computing takes %v a part, chunks travel up to %v (of %d floats), messages up to %v, labels up to %v; a checkpoint every %d, an evaluation every %d iterations; leases of %v",
		s.Seed, s.Iterations, s.Shards, s.Start, s.Min, s.Max, s.Candidates, s.Compute, s.Delay, s.ChunkFloats, s.Travel, s.LabelDelay, s.CheckpointEvery, s.EvalEvery*epoch, s.Lease)
	if s.LateKill {
		b.WriteString("; the coordinator that ends the run is killed at once")
	}
	for _, e := range s.Events {
		b.WriteString("\n  " + e.String())
	}
	fmt.Fprintf(&b, "\n  %7.3f s: every fault is over, and what is missing is started", s.Healed.Seconds())
	return b.String()
}

// epoch is the number of iterations of one.
const epoch = 4

// durations are those of faults: below and above what silences, leases and patience allow.
var durations = []time.Duration{100 * time.Millisecond, 700 * time.Millisecond, 1800 * time.Millisecond, 2500 * time.Millisecond, 4 * time.Second, 7 * time.Second, 12 * time.Second, 20 * time.Second}

// draw makes the schedule of a seed.
func draw(seed uint64) Schedule {
	r := rand.New(rand.NewPCG(seed, 1))
	s := Schedule{Seed: seed, Shards: 3 + r.IntN(4), Iterations: 8 + r.Uint32N(5), Candidates: 1 + r.IntN(2), Compute: pick(r, 5, 20, 50, 120), Delay: pick(r, 0, 5, 30, 100, 400), Travel: pick(r, 1, 10, 60),
		LabelDelay: pick(r, 1, 30, 300), ChunkFloats: []int{0, 8, 16}[r.IntN(3)], CheckpointEvery: []uint32{0, 2, 3, 5}[r.IntN(4)], EvalEvery: r.Uint32N(2), Lease: pick(r, 3000, 5000, 10000), LateKill: r.IntN(8) == 0}
	s.Start = 2 + r.IntN(min(3, s.Shards-1))
	s.Min, s.Max = 1, s.Shards
	if r.IntN(4) == 0 {
		s.Min = s.Start
	}
	if r.IntN(4) == 0 {
		s.Max = s.Start
	}
	d := drawing{Rand: r, s: &s}
	for i := range s.Start {
		d.trainers = append(d.trainers, fmt.Sprintf("t%d", i))
	}
	for i := range s.Candidates {
		d.coordinators = append(d.coordinators, fmt.Sprintf("c%d", i))
	}
	d.hosts = len(d.trainers)
	window := pick(r, 1500, 4000, 8000, 15000)
	for range r.IntN(9) {
		d.event(time.Duration(r.Int64N(int64(window))))
	}
	slices.SortStableFunc(s.Events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	s.Healed = time.Second
	for _, e := range s.Events {
		s.Healed = max(s.Healed, e.At+100*time.Millisecond, e.At+e.until())
	}
	return s
}

// until is how long a fault lasts; 0: it has no end.
func (e Event) until() time.Duration {
	if e.Kind == Slow {
		return 0
	}
	return e.For
}

func pick(r *rand.Rand, ms ...int) time.Duration {
	return time.Duration(ms[r.IntN(len(ms))]) * time.Millisecond
}

// drawing is a schedule in the making.
type drawing struct {
	*rand.Rand
	s            *Schedule
	trainers     []string // hosts that there will be
	coordinators []string
	hosts        int
}

func (d *drawing) trainer() string { return d.trainers[d.IntN(len(d.trainers))] }

func (d *drawing) coordinator() string { return d.coordinators[d.IntN(len(d.coordinators))] }

func (d *drawing) lasting() time.Duration {
	return durations[d.IntN(len(durations))] + time.Duration(d.IntN(1000))*time.Microsecond
}

func (d *drawing) add(e Event) { d.s.Events = append(d.s.Events, e) }

// event draws one, with what goes with it.
func (d *drawing) event(at time.Duration) {
	later := at + time.Duration(d.Int64N(int64(6*time.Second)))
	two := func() (a, b string) {
		a = d.trainer()
		for b = a; b == a; {
			b = d.trainer()
		}
		return a, b
	}
	switch d.IntN(18) {
	case 0, 1, 2: // a trainer dies, and mostly comes back
		who := d.trainer()
		d.add(Event{At: at, Kind: Kill, Who: who})
		if d.IntN(3) > 0 {
			d.add(Event{At: later, Kind: Start, Who: who})
		}
	case 3, 4:
		d.add(Event{At: at, Kind: Freeze, Who: d.trainer(), For: d.lasting()})
	case 5:
		a, b := two()
		d.add(Event{At: at, Kind: Cut, Who: a, Other: b, For: d.lasting()})
	case 6:
		d.add(Event{At: at, Kind: Cut, Who: d.trainer(), Other: d.coordinator(), For: d.lasting()})
	case 7:
		d.add(Event{At: at, Kind: Cut, Who: d.trainer(), Other: etcdHost, For: d.lasting()})
	case 8: // somebody joins
		who := fmt.Sprintf("t%d", d.hosts)
		d.hosts++
		d.trainers = append(d.trainers, who)
		d.add(Event{At: at, Kind: Start, Who: who})
	case 9:
		who := d.trainer()
		d.add(Event{At: at, Kind: Drain, Who: who})
		if d.IntN(2) > 0 {
			d.add(Event{At: later, Kind: Start, Who: who})
		}
	case 10:
		who := d.coordinator()
		d.add(Event{At: at, Kind: Kill, Who: who})
		d.add(Event{At: later, Kind: StartCoord, Who: who})
	case 11:
		d.add(Event{At: at, Kind: Freeze, Who: d.coordinator(), For: d.lasting()})
	case 12:
		d.add(Event{At: at, Kind: Cut, Who: d.coordinator(), Other: etcdHost, For: d.lasting()})
	case 13:
		d.add(Event{At: at, Kind: TeacherOff, For: d.lasting()})
	case 14:
		d.add(Event{At: at, Kind: EtcdOff, For: d.lasting()})
	case 15, 17:
		a, b := two()
		if d.IntN(2) == 0 {
			for range 1 + d.IntN(3) { // what the old stream carried may arrive in a later generation
				d.add(Event{At: at, Kind: Break, Who: a, Other: b})
				at += pick(d.Rand, 40, 150, 600)
			}
		} else {
			d.add(Event{At: at, Kind: Slow, Who: a, Other: b, For: pick(d.Rand, 50, 400)})
		}
	case 16:
		who := d.coordinator()
		d.add(Event{At: at, Kind: Close, Who: who})
		d.add(Event{At: later, Kind: StartCoord, Who: who})
	}
}
