package allreduce

import (
	"fmt"
	"sync"
	"time"

	"github.com/dither-ml/dither/trainer/allreduce/wire"
)

// Reducer does the all-reduces of one generation, for one trainer. Begin, Start, Wait and Close belong to one goroutine, or to several that take turns;
// Abort may be called from anywhere.
type Reducer struct {
	group       Group
	transport   Transport // nil for one trainer alone
	chunkFloats int
	silence     time.Duration
	stale       bool                          // the mutant AcceptStale
	get         func(floats int) *wire.Buffer // memory for what may be sent
	over        chan struct{}                 // closed when the reducer failed, or closed and all was sent
	subtrees    []Range                       // this trainer's
	tree        tree
	adder       adder // the worker's
	goroutines  sync.WaitGroup

	mu              sync.Mutex
	progress        sync.Cond // a sum is whole, a peer left, the worker let go of a bucket, or the reducer failed
	work            sync.Cond // there is a bucket to do, or room in a lane
	iteration       uint32    // 0: before the first Begin
	started         map[uint32]*bucket
	queue           []*bucket // what the worker has not begun
	current         *bucket   // what the worker reads now
	chunks          map[chunkID]*assembly
	lanes           []*lane // by rank; nil: one's own
	adding          int     // sums that are being added up, without mu
	departed        []bool  // by rank: the peer has closed in good order
	err             error   // the first failure: final
	closing, sent   bool    // Close has begun; and all that was posted has been sent
	spareBuckets    []*bucket
	spareAssemblies []*assembly
}

// bucket is what was given to Start.
type bucket struct {
	id     uint32
	shards [][]float32 // [own shards][floats]
	floats int
}

type chunkID struct{ iteration, bucket, index uint32 }

func (c chunkID) String() string {
	return fmt.Sprintf("chunk %d of collective %d of iteration %d", c.index, c.bucket, c.iteration)
}

// New gives a Reducer that exchanges chunks by t, which it owns from now on; a trainer alone needs none (nil). A group that is none panics.
func New(g Group, t Transport, o Options) *Reducer {
	g.check()
	if o.ChunkFloats == 0 {
		o.ChunkFloats = DefaultChunkFloats
	}
	if o.ChunkFloats < 0 || o.ChunkFloats > MaxChunkFloats || (t == nil && len(g.Ranges) > 1) {
		panic(fmt.Sprintf("allreduce: chunks of %d floats, %d trainers, transport %v", o.ChunkFloats, len(g.Ranges), t))
	}
	if o.Silence == 0 {
		o.Silence = DefaultSilence
	}
	shards := g.Ranges[len(g.Ranges)-1].End
	r := &Reducer{
		group: g, transport: t, chunkFloats: o.ChunkFloats, silence: o.Silence, stale: mutated(AcceptStale), over: make(chan struct{}), subtrees: Subtrees(g.Ranges[g.Rank], shards), tree: newTree(g.Ranges), adder: newAdder(shards),
		started: map[uint32]*bucket{}, chunks: map[chunkID]*assembly{}, lanes: make([]*lane, len(g.Ranges)), departed: make([]bool, len(g.Ranges)),
	}
	r.get = wire.Get
	if own, ok := t.(interface{ get(int) *wire.Buffer }); ok {
		r.get = own.get
	}
	if mutated(SumOverTrainers) {
		r.subtrees, r.tree = []Range{g.Ranges[g.Rank]}, trainerTree(g.Ranges)
	}
	r.progress.L, r.work.L = &r.mu, &r.mu
	for rank := range g.Ranges {
		if rank != g.Rank {
			r.lanes[rank] = newLane(r, rank)
		}
	}
	r.goroutines.Go(r.makePartials)
	if t != nil {
		r.goroutines.Go(r.watch)
	}
	for _, l := range r.lanes {
		if l != nil {
			r.goroutines.Go(l.send)
			r.goroutines.Go(l.receive)
		}
	}
	return r
}

// Begin begins an iteration, the one after the last that was begun: ids start again. Every Start must have had its Wait.
func (r *Reducer) Begin(iteration uint32) {
	if err := r.begin(iteration); err != nil {
		r.fail(err)
	}
}

func (r *Reducer) begin(iteration uint32) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil
	}
	if len(r.started) > 0 || iteration <= r.iteration {
		panic(fmt.Sprintf("allreduce: iteration %d begun after %d, with %d collectives that nobody waited for", iteration, r.iteration, len(r.started)))
	}
	r.iteration = iteration
	for id := range r.chunks { // what peers who are ahead sent already, and nothing else
		if err := r.admit(id); err != nil {
			return err
		}
	}
	return nil
}

// Start begins the all-reduce of a bucket: shards [own shards][floats], in order, all of one length, which must be the same on every trainer. Nobody may touch them until Wait
// has returned. It does not wait for anything.
func (r *Reducer) Start(id uint32, shards [][]float32) {
	own := r.group.Ranges[r.group.Rank]
	if len(shards) != own.End-own.First {
		panic(fmt.Sprintf("allreduce: collective %d with %d shards, this trainer owns %v", id, len(shards), own))
	}
	for _, s := range shards {
		if len(s) != len(shards[0]) {
			panic(fmt.Sprintf("allreduce: collective %d with shards of %d and %d floats", id, len(shards[0]), len(s)))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return
	}
	if r.started[id] != nil || r.iteration == 0 || r.closing {
		panic(fmt.Sprintf("allreduce: collective %d started twice, before Begin or after Close", id))
	}
	b := take(&r.spareBuckets)
	if b == nil {
		b = new(bucket)
	}
	*b = bucket{id: id, shards: shards, floats: len(shards[0])}
	r.started[id] = b
	if b.floats > 0 { // else Wait is done before the worker would be
		r.queue = append(r.queue, b)
		r.work.Signal()
	}
}

// Wait waits for the all-reduce begun by Start(id) and writes the sum over all shards into sum [floats]. An error is final, the same for every Wait: it wraps ErrPeerLost, ErrRefused,
// ErrClosed or what was given to Abort; sum is then undefined.
func (r *Reducer) Wait(id uint32, sum []float32) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.started[id]
	if r.err == nil && (b == nil || len(sum) != b.floats) {
		panic(fmt.Sprintf("allreduce: wait for collective %d into %d floats, which was not started so", id, len(sum)))
	}
	size := ChunkFloats(len(sum), len(r.group.Ranges), r.chunkFloats)
	for index := 0; r.err == nil && index*size < b.floats; index++ {
		at := index * size
		if err := r.waitChunk(chunkID{r.iteration, id, uint32(index)}, sum[at:min(at+size, b.floats)]); err != nil {
			r.mu.Unlock()
			r.fail(err)
			r.mu.Lock()
		}
	}
	if r.err != nil {
		for r.adding > 0 || r.current != nil && r.current == b { // the shards are still read
			r.progress.Wait()
		}
		return r.err
	}
	delete(r.started, id)
	r.spareBuckets = append(r.spareBuckets, b)
	return nil
}

// waitChunk waits for one chunk's sum and copies it. It holds r.mu, and comes back without a sum where the reducer has failed; an error is a failure that it found.
func (r *Reducer) waitChunk(id chunkID, sum []float32) error {
	for r.err == nil {
		a := r.chunks[id]
		if a != nil && a.sum != nil {
			if a.sum.Len() != len(sum) {
				return r.refuse(r.owner(id.bucket, id.index), "%v has %d floats there and %d here", id, a.sum.Len(), len(sum))
			}
			delete(r.chunks, id)
			r.mu.Unlock()
			copy(sum, a.sum.Floats())
			a.release()
			r.mu.Lock()
			r.spareAssemblies = append(r.spareAssemblies, a)
			return nil
		}
		if rank := r.missing(id); rank >= 0 {
			return left(rank, r.transport.Address(rank), fmt.Errorf("it closed before %v was done; its own log says why", id))
		}
		r.progress.Wait()
	}
	return nil
}

// missing is the rank of a peer without which a chunk's sum cannot come, although it has closed; or -1.
func (r *Reducer) missing(id chunkID) int {
	owner := r.owner(id.bucket, id.index)
	if owner == r.group.Rank {
		return r.assembly(id).missing(&r.tree, r.departed)
	}
	if r.departed[owner] {
		return owner
	}
	return -1
}

func (r *Reducer) owner(bucket, index uint32) int { return Owner(bucket, index, len(r.group.Ranges)) }

// assembly is the state of a chunk, made where there is none.
func (r *Reducer) assembly(id chunkID) *assembly {
	a := r.chunks[id]
	if a == nil {
		if a = take(&r.spareAssemblies); a == nil {
			a = newAssembly(&r.tree)
		}
		r.chunks[id] = a
	}
	return a
}

// admit refuses a chunk of an iteration that is over, or that no peer can have reached. It holds r.mu.
func (r *Reducer) admit(id chunkID) error {
	if r.iteration != 0 && (id.iteration < r.iteration || id.iteration > r.iteration+1) {
		return fmt.Errorf("%w: %v, while this trainer is at iteration %d", ErrRefused, id, r.iteration)
	}
	return nil
}

func (r *Reducer) refuse(from int, format string, args ...any) error {
	who := "this trainer"
	if from != r.group.Rank {
		who = fmt.Sprintf("trainer of rank %d at %s", from, r.transport.Address(from))
	}
	return fmt.Errorf("%s: %w: %s", who, ErrRefused, fmt.Sprintf(format, args...))
}

// take takes the last element of a list, or the zero value.
func take[T any](list *[]T) (last T) {
	if n := len(*list); n > 0 {
		last = (*list)[n-1]
		*list = (*list)[:n-1]
	}
	return last
}
