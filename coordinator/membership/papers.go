package membership

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// PutPaper implements Registry.
func (c *Client) PutPaper(ctx context.Context, l *Leadership, name string, value []byte) error {
	return c.guarded(ctx, l, nil, clientv3.OpPut(c.root+"papers/"+name, string(value)))
}

// DropPapers implements Registry.
func (c *Client) DropPapers(ctx context.Context, l *Leadership, prefix string) error {
	return c.guarded(ctx, l, nil, clientv3.OpDelete(c.root+"papers/"+prefix, clientv3.WithPrefix()))
}

// Papers implements Registry.
func (c *Client) Papers(ctx context.Context, prefix string) ([]Paper, error) {
	root := c.root + "papers/"
	got, err := c.read(ctx, root+prefix, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend))
	if err != nil {
		return nil, fmt.Errorf("reading what earlier coordinators of run %q left: %w", c.run, err)
	}
	out := make([]Paper, len(got.Kvs))
	for i, kv := range got.Kvs {
		out[i] = Paper{Name: strings.TrimPrefix(string(kv.Key), root), Value: kv.Value, revision: kv.ModRevision}
	}
	return out, nil
}

// read is a Get that does not hang on an endpoint that does: the next try may reach another.
func (c *Client) read(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	got, err := c.etcd.Get(ctx, key, opts...)
	if err != nil {
		return nil, c.explain(err)
	}
	return got, nil
}

// explain says what an etcd's refusal means and what to do about it.
func (c *Client) explain(err error) error {
	where := strings.Join(c.etcd.Endpoints(), ", ")
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("the etcd at %s is full and takes no writes (alarm NOSPACE): compact and defragment it or raise its quota, then `etcdctl alarm disarm`: %w", where, err)
	case errors.Is(err, rpctypes.ErrCorrupt):
		return fmt.Errorf("the etcd at %s says that its data are corrupt and takes no writes (alarm CORRUPT): mend it, or use another with --etcd: %w", where, err)
	case errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrUserEmpty):
		return fmt.Errorf("the etcd at %s does not let dither write: %w", where, err)
	case errors.Is(err, rpctypes.ErrNoLeader), errors.Is(err, rpctypes.ErrTimeout), errors.Is(err, rpctypes.ErrTimeoutDueToLeaderFail), errors.Is(err, rpctypes.ErrTimeoutDueToConnectionLost):
		return fmt.Errorf("the etcd at %s has no leader, or a disk that is too slow: %w", where, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the etcd at %s does not answer: %w", where, err)
	}
	return err
}
