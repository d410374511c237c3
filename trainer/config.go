package trainer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
	"github.com/dither-ml/dither/trainer/allreduce"
	"github.com/dither-ml/dither/trainer/checkpoint"
)

// How Serve ends where it is not nil, nor a reason in words.
var (
	// ErrStopped: the whole run was stopped, with a checkpoint, before its last iteration.
	ErrStopped = errors.New("stopped before the last iteration")
	// ErrLeft: this trainer was asked to go, and went; the run goes on without it.
	ErrLeft = errors.New("left the run")
	// ErrOver: the run ended without a last word of this trainer.
	ErrOver = errors.New("the run is over")
	// ErrRefused: the coordinator says that this trainer does not fit the run (version, arithmetic, data): a retry will be refused too.
	ErrRefused = errors.New("refused by the coordinator")
	// ErrDiverged: a loss is not finite; every trainer sees it at the same iteration, and a retry would see it again.
	ErrDiverged = errors.New("the loss is not finite")
)

// ErrBroken is what Iterate wraps where the exchange with the other trainers broke: nothing of the iteration was applied.
var ErrBroken = errors.New("the exchange broke")

// ErrNoFile is GetFile's answer where the run has no such file.
var ErrNoFile = errors.New("the run has no such file")

// Config is what a trainer is given. All that surrounds its loop is an interface: sockets and etcd in a run, memory in a simulation. Time is package time's.
type Config struct {
	Member       *ditherv1.Member         // who it is: id, role, address, process, kernel set, arithmetic, version, data and spec; the shards are unset
	Run          *ditherv1.GetRunResponse // from the coordinator
	Members      Members                  //
	Coordinators Coordinators             //
	Exchange     allreduce.Connector      // opens the all-reduce of each generation
	Peers        Peers                    //
	Labels       LabelSource              // nil where no loss takes soft labels
	Work         Work                     //
	Grace        time.Duration            // how long one that was asked to go waits for the others to go on without it; 0: 20 s
	ChunkFloats  int                      // of the all-reduce: allreduce.Options; 0: its default. A simulation's buckets are smaller than that
	Logger       *slog.Logger             //
}

// Members is how a trainer becomes known and learns which generation is in force: etcd in a run.
type Members interface {
	// Join makes m known under a lease, and returns once it is; it waits for as long as that takes. It may be called again after the lease was lost. An error is final, or the context's.
	Join(ctx context.Context, m *ditherv1.Member) error
	// Generations gives the one in force, if there is one, then the newest after each change; those that were overtaken may be left out. It is closed when ctx is over.
	Generations(ctx context.Context) <-chan *ditherv1.Generation
	// Lost is closed when the others may think that this trainer is gone: the lease of the last Join is over.
	Lost() <-chan struct{}
	// Leave gives the place up at once.
	Leave(ctx context.Context) error
}

// Coordinators finds the coordinator that leads.
type Coordinators interface {
	// Connect waits until a coordinator is said to lead, and opens a report stream to it. An error says that it could not be reached; the caller tries again later.
	Connect(ctx context.Context) (Coordinator, error)
}

// Coordinator is a connection to a coordinator: one report stream, and files. It breaks when that coordinator is gone or another one leads.
// One goroutine sends and one receives at a time; files go beside them, from any goroutine.
type Coordinator interface {
	// Send sends a record; the caller leaves it as it is from then on. It does not wait for the coordinator to take it. An error is final: the connection is broken.
	Send(r *ditherv1.ReportRequest) error
	// Recv waits for the answer to the hello, or an order. An error is final: the connection is broken.
	Recv() (*ditherv1.ReportResponse, error)
	// PutCheckpoint hands over the encoded state after an iteration, and returns once the coordinator has written it.
	PutCheckpoint(ctx context.Context, iteration uint32, data []byte) error
	// GetFile fetches a file of the run; the error wraps ErrNoFile where it has none.
	GetFile(ctx context.Context, kind ditherv1.FileKind) ([]byte, error)
	// Close lets Send and Recv fail. What was sent before is delivered where the coordinator still takes it. It may be called again.
	Close()
}

// Peers is how a trainer asks others for their state; they answer with Trainer.FetchState and Trainer.FollowUpdates.
type Peers interface {
	// FetchState asks for the state, or bytes of it. Recv ends with io.EOF when they are all there.
	FetchState(ctx context.Context, from *ditherv1.Member, r *ditherv1.FetchStateRequest) (Stream[ditherv1.FetchStateResponse], error)
	// FollowUpdates asks for what is applied from now on. It ends with ctx, or when the peer cuts it off.
	FollowUpdates(ctx context.Context, from *ditherv1.Member, r *ditherv1.FollowUpdatesRequest) (Stream[ditherv1.FollowUpdatesResponse], error)
}

// Stream is what comes from a peer, message by message. An error is final; it ends with the context that it was opened with.
type Stream[T any] interface {
	Recv() (*T, error)
}

// LabelSource gives the noisy soft labels, asked for ahead of time. One goroutine uses it. Labels is the one of a run.
type LabelSource interface {
	// Begin begins to ask for the labels of iterations first to last; what was asked for before is dropped. samples gives the sample ids of iteration k [n] in the order of the labels. A trainer begins anew in every generation: it owns other shards there.
	Begin(first, last uint32, samples func(k uint32) []uint32)
	// Take waits for the labels of iteration k [n][classes], for as long as no teacher-logit service answers. Each iteration is taken once, in order.
	// An error is ctx's cause, or final: a retry would meet it again.
	Take(ctx context.Context, k uint32) ([]float32, error)
	// Close drops what was asked for and lets go of everything.
	Close()
}

// Work is what a trainer computes: its shards of the batches, and the state. One goroutine uses it. Share is the one of a run.
type Work interface {
	// Own prepares for shards [first, end) from the next iteration on, before any state too. The state stays as it is.
	Own(first, end int) error
	// Sampler gives the sample ids of the owned shards at an iteration, in order, a new slice each time; it may be called from any goroutine, and keeps to its shards when Own changes them.
	Sampler() func(k uint32) []uint32
	// Start sets the state to the run's start (iteration 0). file is the start where the spec says that it is a file, else nil.
	Start(file []byte) error
	// Restore sets the state to that of a checkpoint's bytes, and says after which iteration that is.
	Restore(data []byte) (iteration uint32, err error)
	// Snapshot copies the state, between two iterations. Its bytes are the same on every trainer at that iteration.
	Snapshot() (*checkpoint.Checkpoint, error)
	// Iterate does iteration k, the one after the last applied: forward, backward, the sums over all shards by r, the commit. soft is the noisy soft labels of the owned shards [n][classes], nil
	// where no loss takes them. wanted, asked once the gradients are there, says whether this trainer wants the run to stop, and stop whether any does. What came of it is written to
	// record, which is empty. Where it fails, nothing has changed; the error wraps ErrBroken (the exchange) or ErrDiverged, else this trainer cannot compute.
	Iterate(r *allreduce.Reducer, k uint32, soft []float32, wanted func() bool, record *ditherv1.IterationRecord) (stop bool, err error)
	// Update is what the iteration just applied was applied from, until the next one begins.
	Update() (*Update, error)
	// ApplyUpdate applies the iteration after the last applied one, with another trainer's sums: the state's bits are those of Iterate.
	ApplyUpdate(u *Update) error
	// Digests are those of the soft labels given to the last Iterate, by owned shard; none where there were none.
	Digests() []string
	// Evaluate computes this trainer's parts of the test and validation results of the state as it is.
	Evaluate(c Cut) ([]*ditherv1.Part, error)
	// GradientNorm computes this trainer's part of the gradient norm over so many training images (or all, if there are fewer).
	GradientNorm(images int, c Cut) (*ditherv1.Part, error)
	// PerEpoch is the number of iterations of an epoch.
	PerEpoch() uint32
}

// Update is what an iteration is applied from.
type Update struct {
	Iteration uint32
	LR        float64
	Sums      []float32 // over all shards: gradients in the order of the buckets, then the running statistics
}
