package coordinator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"syscall"

	"github.com/dither-ml/dither/coordinator/membership"
)

// listen is net.Listen, with a sentence for what goes wrong most.
func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	var system syscall.Errno
	switch {
	case err == nil:
		return l, nil
	case errors.As(err, &system):
		return nil, fmt.Errorf("cannot listen on %s: %w; choose another with --listen", address, system)
	}
	return nil, fmt.Errorf("cannot listen on %s: %w; give HOST:PORT with --listen", address, err)
}

// connect reaches the etcd that is to be used, starting one where none is given.
func (c *Coordinator) connect(ctx context.Context) error {
	connect := func() (*membership.Client, error) { return membership.Connect(ctx, c.etcd, c.config.Run) }
	c.etcd = c.config.Etcd
	if len(c.etcd) == 0 {
		options, err := c.embedOptions()
		if err != nil {
			return err
		}
		if c.embedded, err = membership.Embed(filepath.Join(c.config.Dir, etcdDir), options); err != nil {
			return err
		}
		c.etcd = c.embedded.Endpoints()
		connect = func() (*membership.Client, error) { return c.embedded.Connect(ctx, c.config.Run) }
	}
	client, err := connect()
	if err != nil {
		return err
	}
	c.registry = client
	return nil
}

// embedOptions lets the etcd be reached by those who reach the coordinator.
func (c *Coordinator) embedOptions() (membership.EmbedOptions, error) {
	var o membership.EmbedOptions
	host, _, err := net.SplitHostPort(c.listener.Addr().String())
	if err != nil {
		return o, fmt.Errorf("where the coordinator listens: %w", err)
	}
	o.Host = host
	if c.config.Advertise != "" {
		if o.Advertise, _, err = net.SplitHostPort(c.config.Advertise); err != nil {
			return o, fmt.Errorf("--advertise %s: %w; give HOST:PORT", c.config.Advertise, err)
		}
	} else if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return o, fmt.Errorf("%s is every address of this machine: say with --advertise HOST:PORT under which one trainers reach the coordinator and its etcd", c.config.Listen)
	}
	return o, nil
}
