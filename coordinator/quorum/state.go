package quorum

import "time"

// Phase is where a run is.
type Phase string

const (
	Waiting  Phase = "waiting"  // for trainers or teachers: nobody can train
	Training Phase = "training" // a generation is in force
	Stopping Phase = "stopping" // asked to end early; not every trainer has said its last word
	Finished Phase = "finished" // every trainer is through, and they agree
	Stopped  Phase = "stopped"  // ended early, in order
	Failed   Phase = "failed"   // ended as it should not
)

// Member is a process of the run: a trainer or a teacher-logit service. A hash that is empty was not said, and is not checked.
type Member struct {
	ID          string
	Address     string // where it listens
	Process     string // "host:pid"
	KernelSet   string
	Version     string
	Arithmetic  string
	TrainSHA256 string // of its training images
	TestSHA256  string // of its test images
	SpecSHA256  string // of the run's spec as it has it
}

func (m Member) String() string {
	if m.Process == "" {
		return m.ID
	}
	return m.ID + " (" + m.Process + ")"
}

// same says that m is the process that it was, not one that took its id over.
func (m Member) same(o Member) bool {
	return m.ID == o.ID && m.Process == o.Process && m.Address == o.Address
}

// Trainer is what is known of one trainer. There is one for an id: the process that spoke or was seen last.
type Trainer struct {
	Member
	Lease      bool          // it is in etcd
	Connected  bool          // its Report stream is open, and it has said hello
	Silent     time.Duration // since its last word; since its stream broke where it is not Connected
	Generation uint64        // that it is in by its own word; 0: none
	Iteration  uint32        // last applied
	HasState   bool          // parameters and momentum after Iteration
	Leaving    string        // why it was asked to go; empty: it was not
	Doing      string        // for people
}

// Complaint is a trainer's word that it could not go on with a peer.
type Complaint struct {
	Generation uint64
	From, To   string // ids; To is empty where it names nobody
	Reason     string // what From noticed
	Ago        time.Duration
}

// Word is a trainer's last word when it ended in order.
type Word struct {
	Generation uint64 // in which it was said: it counts while that one is in force
	Iteration  uint32 // last applied
	Parameters string // sha256 (hex)
	Stopped    bool   // before its last iteration
}

// Failure is why a process gave up. That of a trainer outside the generation is its own affair.
type Failure struct {
	Member               // the trainer; without an ID: the coordinator
	Message       string // what, where and what to do
	Deterministic bool   // it has its cause in the run itself, not in a peer or a service that went away
	Diverged      bool   // that cause is a loss that became no number
	Unwritable    bool   // the coordinator cannot write any more: checkpoints and last words have nowhere to go, so nobody waits for them
}

// Seat is a trainer's place in a generation; its index is its rank.
type Seat struct {
	Member
	Range
}

// Generation is one fixed set of trainers and who owns which shards. It is never changed once made.
type Generation struct {
	Number  uint64 // from 1
	Seats   []Seat // their ranges follow one another from shard 0
	Reason  string
	After   uint32 // iteration known to be applied; its trainers settle among themselves where they go on
	Planned bool   // nobody was lost: the iteration in flight is ended first
}

// State is all that a decision rests on. Decide when anything of it has changed, and, as time counts too, a few times in every Silence.
type State struct {
	// What the run asks for.
	Shards, Start, Min, Max         int // the first generation waits for Start trainers; later ones have from Min to Max
	NeedTeacher                     bool
	Version, Arithmetic, SpecSHA256 string // everybody's must be the same; arithmetic is the trainers'
	TeacherArithmetic               string // empty: any
	TrainSHA256, TestSHA256         string
	Iterations, StopAfter           uint32        // of the whole run; StopAfter 0: never
	After                           uint32        // iteration of the newest checkpoint, 0 where there is none: who has no state goes on there
	WaitTimeout                     time.Duration // for missing trainers or teachers; 0: for ever
	Silence                         time.Duration // after which a silent trainer is lost
	Grace                           time.Duration // for trainers to call after this coordinator came to lead; 0 where it found no generation in force
	Benched                         time.Duration // how long a trainer is kept out that cannot reach another
	Patience                        time.Duration // with trainers that were ordered to stop after a failure

	// What is so now.
	Trainers   []Trainer   // everybody who is in etcd, connected, or in the generation
	Teachers   []Member    // in etcd
	Generation *Generation // in force; nil: none yet of this execution
	Last       uint64      // number of the newest generation that there ever was
	Iteration  uint32      // last applied, as far as anybody said
	// Complaints of the generation in force, whatever their age, and of earlier ones for twice Benched; newest last.
	Complaints []Complaint
	Words      map[string]Word // by id
	Failures   []Failure       // in the order in which they came
	Seconds    []float64       // computing seconds of each shard, median over the last iterations; empty: unknown
	StopAsked  bool
	StopReason string
	Doomed     *Decision // an earlier decision that the run fails; nil: there was none

	Leading     time.Duration // since this coordinator came to lead
	Waited      time.Duration // since the phase became Waiting
	TeacherAway time.Duration // since Decision.TeacherAway became true
	Ordered     time.Duration // since the trainers were ordered to stop after a failure
}

// Refusal is a process that cannot take part, or is let go, and why.
type Refusal struct {
	ID     string
	Reason string
}

// Decision is what to do.
type Decision struct {
	Phase  Phase
	Reason string // in words
	// Generation is to be put in force; nil: none.
	Generation *Generation
	// Stop is set where the trainers of the generation must stop after the iteration in flight; Reason says why.
	Stop bool
	// Refused do not fit the run and are to be sent away for good.
	Refused []Refusal
	// Dismissed asked to go and may: nobody counts on them any more.
	Dismissed []Refusal
	// Notes are what there is to know that is no reason to stop: a straggler, a trainer that is kept out or catches up.
	Notes []string
	// TeacherAway is set while labels are needed and nobody gives any.
	TeacherAway bool
	// Temporary is set for Failed where a retry may succeed: a process was lost, or did not come in time.
	Temporary bool
	// Diverged is set for Failed where the loss became no number: it would again.
	Diverged bool
	// Over is set once nobody is left to hear from: the phase and the reason are final.
	Over bool
}
