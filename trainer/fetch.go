package trainer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const (
	// fetchFrom bounds the trainers that a state is fetched from at once: each makes a copy of its own.
	fetchFrom = 4
	// fetchPart is the least part of a state that is worth asking another trainer for.
	fetchPart = 1 << 20
	// fetchPatience is how long a trainer may be silent while bytes of its state are awaited.
	fetchPatience = 5 * time.Second
	// fetchOthers is how much longer the others are awaited once one has said which state it has.
	fetchOthers = time.Second
	// fetchMost bounds what is believed about a state's size.
	fetchMost = 1 << 36
)

// fetch copies a state from several trainers at once.
type fetch struct {
	peers    Peers
	position *ditherv1.Position // run, spec, and the least iteration that will do
	logger   *slog.Logger
}

// version is which state a trainer has: of one iteration all have the same.
type version struct {
	iteration uint32
	total     uint64
	sum       [sha256.Size]byte
}

func versionOf(r *ditherv1.FetchStateResponse) (version, error) {
	v := version{iteration: r.GetIteration(), total: r.GetTotalBytes()}
	if copy(v.sum[:], r.GetStateSha256()) != len(v.sum) || v.total == 0 || v.total > fetchMost {
		return v, fmt.Errorf("a state of %d bytes with a sha256 of %d", v.total, len(r.GetStateSha256()))
	}
	return v, nil
}

// state gives the bytes of a state, with those hashes that its trainers gave. Who gives other bytes than it announced is left out.
func (f *fetch) state(ctx context.Context, from []*ditherv1.Member) ([]byte, version, error) {
	from = from[:min(len(from), fetchFrom)]
	v, sources, err := f.choose(ctx, from)
	if err != nil {
		return nil, v, err
	}
	data := make([]byte, v.total)
	if err := f.parts(ctx, v, sources, data); err != nil {
		return nil, v, err
	}
	if sha256.Sum256(data) == v.sum {
		return data, v, nil
	}
	err = fmt.Errorf("the state after iteration %d that came has another sha256 than was announced", v.iteration)
	if len(sources) == 1 {
		return nil, v, fmt.Errorf("trainer %s: %w", sources[0].GetId(), err)
	}
	// One of them gave other bytes, with their true hash: whose state is whole will do.
	for i := range sources {
		if data, v, again := f.state(ctx, sources[i:i+1]); again == nil {
			return data, v, nil
		}
	}
	return nil, v, err
}

// choose asks everybody at once which state they have, and takes the one that most have: trainers go on meanwhile, and not all may stand at one iteration.
func (f *fetch) choose(ctx context.Context, from []*ditherv1.Member) (version, []*ditherv1.Member, error) {
	type answer struct {
		rank int
		version
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, len(from))
	for rank, m := range from {
		go func() {
			v, err := f.probe(ctx, m)
			answers <- answer{rank, v, err}
		}()
	}
	have := map[version][]*ditherv1.Member{}
	var best version
	var late <-chan time.Time
	var failed error
	for range from {
		select {
		case a := <-answers:
			if a.err != nil {
				failed = errors.Join(failed, fmt.Errorf("trainer %s: %w", from[a.rank].GetId(), a.err))
				continue
			}
			have[a.version] = append(have[a.version], from[a.rank])
			if many, most := len(have[a.version]), len(have[best]); many > most || many == most && a.iteration > best.iteration {
				best = a.version
			}
			if late == nil {
				late = time.After(fetchOthers)
			}
			continue
		case <-late:
		case <-ctx.Done():
			failed = errors.Join(failed, context.Cause(ctx))
		}
		break
	}
	if len(have[best]) == 0 {
		return best, nil, fmt.Errorf("nobody gave a state: %w", failed)
	}
	return best, have[best], nil
}

// probe asks for the first byte.
func (f *fetch) probe(ctx context.Context, m *ditherv1.Member) (version, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := f.peers.FetchState(ctx, m, &ditherv1.FetchStateRequest{Position: f.position, Length: 1})
	if err != nil {
		return version{}, err
	}
	r, err := stream.Recv()
	if err != nil {
		return version{}, errors.New(ditherv1.Message(err))
	}
	if least := f.position.GetIteration(); r.GetIteration() < least {
		return version{}, fmt.Errorf("is after iteration %d, and was asked for %d", r.GetIteration(), least)
	}
	return versionOf(r)
}

// parts fills data, one trainer taking one part after another. A part whose trainer fails goes to those that are left.
func (f *fetch) parts(ctx context.Context, v version, from []*ditherv1.Member, data []byte) error {
	size := max(fetchPart, (len(data)+len(from)-1)/len(from))
	todo := make(chan [2]int, len(data)/size+1)
	for at := 0; at < len(data); at += size {
		todo <- [2]int{at, min(at+size, len(data))}
	}
	parts := len(todo)
	done := make(chan struct{}, parts)
	finished, finish := context.WithCancel(ctx)
	defer finish()
	var all sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for _, m := range from {
		all.Go(func() {
			for {
				select {
				case p := <-todo:
					if err := f.part(finished, m, v, p[0], data[p[0]:p[1]]); err != nil {
						todo <- p
						f.logger.Warn("a part of the state did not come; taking it from others", "trainer", m.GetId(), "error", err)
						mu.Lock()
						failed = errors.Join(failed, fmt.Errorf("trainer %s: %w", m.GetId(), err))
						mu.Unlock()
						return
					}
					done <- struct{}{}
				case <-finished.Done():
					return
				}
			}
		})
	}
	left := make(chan struct{})
	go func() { all.Wait(); close(left) }()
	for range parts {
		select {
		case <-done:
			continue
		case <-left:
		}
		if len(done) == 0 {
			return fmt.Errorf("the state after iteration %d did not come: %w", v.iteration, errors.Join(failed, context.Cause(ctx)))
		}
		<-done
	}
	finish()
	<-left
	return nil
}

// part fetches bytes into data.
func (f *fetch) part(ctx context.Context, m *ditherv1.Member, v version, at int, data []byte) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(fetchPatience, func() { cancel(fmt.Errorf("silent for %v", fetchPatience)) })
	defer silent.Stop()
	position := &ditherv1.Position{Run: f.position.GetRun(), SpecSha256: f.position.GetSpecSha256(), Iteration: v.iteration}
	stream, err := f.peers.FetchState(ctx, m, &ditherv1.FetchStateRequest{Position: position, Offset: uint64(at), Length: uint64(len(data))})
	if err != nil {
		return err
	}
	for got := 0; ; {
		r, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && got == len(data):
			return nil
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%d of %d bytes came", got, len(data))
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return errors.New(ditherv1.Message(err))
		}
		silent.Reset(fetchPatience)
		if other, err := versionOf(r); err != nil || other != v {
			return fmt.Errorf("gave the state after iteration %d where that after %d was asked for", r.GetIteration(), v.iteration)
		}
		sum := sha256.Sum256(r.GetData())
		if r.GetOffset() != uint64(at+got) || len(r.GetData()) > len(data)-got || !bytes.Equal(sum[:], r.GetDataSha256()) {
			return fmt.Errorf("the %d bytes at %d of the state after iteration %d are not those that it announced", len(r.GetData()), r.GetOffset(), v.iteration)
		}
		got += copy(data[got:], r.GetData())
	}
}
