package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// lastWords is how long a connection that is closed in order waits for its coordinator to have taken what was sent.
const lastWords = 5 * time.Second

// Leader is the Coordinators of a run: it reaches the one that leads, by gRPC.
type Leader struct {
	spec    string // hash
	mu      sync.Mutex
	address string
	changed chan struct{} // closed when address changes
}

// FollowLeader follows who leads: addresses come as they change, "" where nobody does. spec is the hash of the run's.
func FollowLeader(addresses <-chan string, spec string) *Leader {
	l := &Leader{spec: spec, changed: make(chan struct{})}
	go func() {
		for a := range addresses {
			l.mu.Lock()
			if a != l.address {
				l.address = a
				close(l.changed)
				l.changed = make(chan struct{})
			}
			l.mu.Unlock()
		}
	}()
	return l
}

func (l *Leader) now() (address string, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.address, l.changed
}

// Connect implements Coordinators.
func (l *Leader) Connect(ctx context.Context) (Coordinator, error) {
	address, changed := l.now()
	for address == "" {
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		address, changed = l.now()
	}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}))
	if err != nil {
		return nil, fmt.Errorf("coordinator at %s: %w", address, err)
	}
	c := &grpcCoordinator{address: address, spec: l.spec, conn: conn, client: ditherv1.NewCoordinatorServiceClient(conn), ended: make(chan struct{})}
	// Its life is longer than ctx's: the last words are said when ctx may be over.
	life, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	c.cancel = cancel
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	defer stop()
	if c.stream, err = c.client.Report(life); err != nil {
		cancel(err)
		conn.Close()
		return nil, fmt.Errorf("coordinator at %s: %s", address, ditherv1.Message(err))
	}
	go func() {
		select {
		case <-changed:
			cancel(errors.New("another coordinator leads, or none"))
		case <-life.Done():
		}
		conn.Close()
	}()
	c.life = life
	return c, nil
}

// grpcCoordinator is a Coordinator by gRPC.
type grpcCoordinator struct {
	address string
	spec    string
	conn    *grpc.ClientConn
	client  ditherv1.CoordinatorServiceClient
	stream  ditherv1.CoordinatorService_ReportClient
	life    context.Context
	cancel  context.CancelCauseFunc

	close sync.Once
	sends sync.Mutex    // over the stream's sending side
	ended chan struct{} // closed when Recv has failed
}

func (c *grpcCoordinator) Send(r *ditherv1.ReportRequest) error {
	c.sends.Lock()
	defer c.sends.Unlock()
	if err := c.stream.Send(r); err != nil {
		return fmt.Errorf("coordinator at %s: %s", c.address, ditherv1.Message(err))
	}
	return nil
}

func (c *grpcCoordinator) Recv() (*ditherv1.ReportResponse, error) {
	r, err := c.stream.Recv()
	if err == nil {
		return r, nil
	}
	close(c.ended)
	if cause := context.Cause(c.life); cause != nil {
		err = cause
	}
	return nil, fmt.Errorf("coordinator at %s: %s", c.address, ditherv1.Message(err))
}

// Close ends the stream in order, and lets the coordinator take what was sent.
func (c *grpcCoordinator) Close() {
	c.close.Do(func() {
		c.sends.Lock()
		_ = c.stream.CloseSend()
		c.sends.Unlock()
		go func() {
			select {
			case <-c.ended:
			case <-time.After(lastWords):
			}
			c.cancel(nil)
		}()
	})
}

// PutCheckpoint implements Coordinator.
func (c *grpcCoordinator) PutCheckpoint(ctx context.Context, k uint32, data []byte) error {
	sum := sha256.Sum256(data)
	stream, err := c.client.PutCheckpoint(ctx)
	if err != nil {
		return fmt.Errorf("checkpoint after iteration %d: %w", k, err)
	}
	head := &ditherv1.PutCheckpointRequest{Iteration: k, SpecSha256: c.spec, FileSha256: hex.EncodeToString(sum[:]), TotalBytes: uint64(len(data))}
	for from := 0; from < len(data); from += piece {
		head.Data = data[from:min(from+piece, len(data))]
		if stream.Send(head) != nil {
			break // CloseAndRecv says why
		}
		head = &ditherv1.PutCheckpointRequest{}
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		return fmt.Errorf("checkpoint after iteration %d: %w", k, err)
	}
	return nil
}

// GetFile implements Coordinator.
func (c *grpcCoordinator) GetFile(ctx context.Context, kind ditherv1.FileKind) ([]byte, error) {
	return GetFile(ctx, c.client, kind)
}
