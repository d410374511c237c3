package membership

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func TestAnEtcdThatKeepsItsData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 2 {
		e, err := Embed(dir, EmbedOptions{Keep: true})
		if err != nil {
			t.Fatal(err)
		}
		c, err := Connect(t.Context(), e.Endpoints(), "r")
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			lead, err := c.Campaign(t.Context(), "one", ttl)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.PutGeneration(t.Context(), lead, &ditherv1.Generation{Number: 1, Reason: "kept"}); err != nil {
				t.Error(err)
			}
		} else if g, _, _, err := c.readGeneration(t.Context()); err != nil || g.GetReason() != "kept" {
			t.Errorf("an etcd that was started again has generation %v, %v", g, err)
		}
		if err := errors.Join(c.Close(), e.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestEtcdClustersThatAreNone(t *testing.T) {
	for cluster, want := range map[string]string{
		"a":                              "no member of an etcd cluster",
		"a=127.0.0.1:1":                  "no member of an etcd cluster",
		"a=http://127.0.0.1":             "no member of an etcd cluster",
		"b=http://127.0.0.1:1":           `no member of the name of this one, "a"`,
		"a=http://127.0.0.1:1,":          "no member of an etcd cluster",
		"a=http://h:1,b=https://h:1":     "no member of an etcd cluster",
		"=http://127.0.0.1:1,a=http://h": "no member of an etcd cluster",
	} {
		if _, err := Embed(t.TempDir(), EmbedOptions{Name: "a", PeerListen: "127.0.0.1:0", Cluster: cluster}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", cluster, err)
		}
	}
}

// An etcd whose disk is full says so, and ends; the process goes on. On a real file system, where the machine lets us make one.
func TestAnEtcdOnAFullDisk(t *testing.T) {
	const folder = "DITHER_FULL_DISK"
	if dir := os.Getenv(folder); dir != "" { // a process of its own, since what gave up is never gone
		if err := fillEtcd(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	t.Parallel()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=4m", "none", dir).CombinedOutput(); err != nil {
		t.Skipf("no file system of our own here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if err := exec.Command("umount", dir).Run(); err != nil {
			t.Error(err)
		}
	})
	self := exec.Command(os.Args[0], "-test.run", "^TestAnEtcdOnAFullDisk$")
	self.Env = append(os.Environ(), folder+"="+dir)
	if out, err := self.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "etcd", etcdLogName)); err != nil || !strings.Contains(string(text), `"level":"fatal"`) {
		t.Errorf("its log has %q, %v", text, err)
	}
}

// fillEtcd starts an etcd under dir, fills the disk there, and writes to the etcd until it gives up.
func fillEtcd(dir string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	e, err := Embed(filepath.Join(dir, "etcd"), EmbedOptions{})
	if err != nil {
		return err
	}
	c, err := Connect(ctx, e.Endpoints(), "r")
	if err != nil {
		return err
	}
	lead, err := c.Campaign(ctx, "one", ttl)
	if err != nil {
		return err
	}
	full, err := os.Create(filepath.Join(dir, "full"))
	if err != nil {
		return err
	}
	if _, err := io.Copy(full, rand.Reader); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("filling the disk: %w", err)
	}
	go func() {
		for k := uint64(1); ctx.Err() == nil; k++ {
			_ = c.PutGeneration(ctx, lead, &ditherv1.Generation{Number: k, Reason: strings.Repeat("a page ", 1000)})
		}
	}()
	select {
	case err := <-e.Failed():
		if !errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("it ended of %w", err)
		}
	case <-time.After(time.Minute):
		return errors.New("it goes on")
	}
	return errors.Join(full.Close(), e.Close())
}
