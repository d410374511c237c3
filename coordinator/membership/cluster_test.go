package membership

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// freePort is one that nobody listens on just now.
func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// Of three members one ends: leases are kept, watches go on, and a leader writes.
func TestAMemberOfEtcdIsLost(t *testing.T) {
	t.Parallel()
	var options []EmbedOptions
	var cluster []string
	for i := range 3 {
		o := EmbedOptions{Name: fmt.Sprintf("m%d", i), Port: freePort(t), PeerListen: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
		options = append(options, o)
		cluster = append(cluster, o.Name+"=http://"+o.PeerListen)
	}
	var members []*Embedded
	var endpoints []string
	for _, o := range options {
		o.Cluster = strings.Join(cluster, ",")
		e, err := Embed(filepath.Join(t.TempDir(), o.Name), o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = e.Close() }()
		members, endpoints = append(members, e), append(endpoints, e.Endpoints()...)
	}
	for _, e := range members {
		select {
		case <-e.Ready():
		case <-time.After(embedTimeout):
			t.Fatal("the cluster does not get ready")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := Connect(ctx, endpoints, "r")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	lead := must(c.Campaign(ctx, "one", 3*time.Second))(t)
	lease := must(c.Join(ctx, &ditherv1.Member{Id: "x", Role: "trainer"}, 3*time.Second))(t)
	watch := c.WatchMembers(ctx)
	until(t, "x", watch, having("trainer/x"))
	gone := members[0]
	for _, e := range members {
		if e.server.Server.Leader() == e.server.Server.MemberID() {
			gone = e // the one that it hurts most
		}
	}
	if err := gone.Close(); err != nil {
		t.Error(err)
	}
	for began := time.Now(); ; {
		err := c.PutGeneration(ctx, lead, &ditherv1.Generation{Number: 1})
		if err == nil || strings.Contains(err.Error(), ErrStale.Error()) { // a try that seemed to fail may have been written
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal(err)
		}
	}
	select {
	case <-lease.Lost():
		t.Error("the lease of a member was lost with one of three")
	case <-lead.Lost():
		t.Error("the lead was lost with one of three")
	case <-time.After(4 * time.Second): // longer than they live unless they are renewed
	}
	must(c.Join(ctx, &ditherv1.Member{Id: "y", Role: "trainer"}, 3*time.Second))(t)
	until(t, "y", watch, having("trainer/x trainer/y"))
}

// A watch from a revision that etcd has let go is begun anew.
func TestAWatchThatWasCompacted(t *testing.T) {
	t.Parallel()
	e := startEtcd(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := Connect(ctx, e.Endpoints(), "r")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	key := c.root + "papers/x"
	last := int64(0)
	for i := range 5 {
		put, err := c.etcd.Put(ctx, key, fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		last = put.Header.Revision
	}
	if _, err := c.etcd.Compact(ctx, last); err != nil {
		t.Fatal(err)
	}
	reads := make(chan int64, 100)
	over := make(chan struct{})
	following, stop := context.WithCancel(ctx)
	go func() {
		defer close(over)
		n := 0
		c.follow(following, key, func() (int64, error) {
			revision := last
			if n == 0 {
				revision = 1 // as if it had been cut off since
			}
			n++
			reads <- revision
			return revision, nil
		})
	}()
	until(t, "the second read", reads, func(r int64) bool { return r == last })
	if _, err := c.etcd.Put(ctx, key, "more", clientv3.WithPrevKV()); err != nil {
		t.Fatal(err)
	}
	until(t, "the third read", reads, func(r int64) bool { return r == last })
	stop()
	<-over
}
