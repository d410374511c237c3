package main

import (
	"strings"
	"testing"
	"time"
)

// clock is a time that a test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }

func TestPlainProgress(t *testing.T) {
	c := &clock{t: time.Unix(0, 0)}
	var out strings.Builder
	p := newProgress(&out, "train", 100, c.now)
	for n := 1; n <= 40; n++ {
		c.advance(250 * time.Millisecond)
		p.Set(n, "loss 0.5")
	}
	c.advance(time.Second)
	p.Done()
	p.Set(99, "too late")
	p.Done()
	want := `train: 20/100 (20 %), 4.0/s, 20s left; loss 0.5
train: 40/100 (40 %), 4.0/s, 15s left; loss 0.5
train: 40/100 (40 %) in 11s; loss 0.5
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestProgressFollowsAChangeOfRate(t *testing.T) {
	c := &clock{t: time.Unix(0, 0)}
	var out strings.Builder
	p := newProgress(&out, "train", 1000, c.now)
	for n := 1; n <= 100; n++ { // 10/s
		c.advance(100 * time.Millisecond)
		p.Set(n, "")
	}
	for n := 101; n <= 130; n++ { // 1/s, for longer than the window
		c.advance(time.Second)
		p.Set(n, "")
	}
	if got := p.rate(); got != 1 {
		t.Errorf("rate %v/s, want 1/s", got)
	}
}

func TestProgressOfResumedWork(t *testing.T) {
	c := &clock{t: time.Unix(0, 0)}
	var out strings.Builder
	p := newProgress(&out, "train", 1000, c.now)
	c.advance(time.Second)
	p.Set(900, "")
	c.advance(time.Second)
	p.Set(902, "")
	if got := p.rate(); got != 2 {
		t.Errorf("rate %v/s, want 2/s: the first 900 steps were another run's", got)
	}
}

func TestProgressOfUnknownTotal(t *testing.T) {
	c := &clock{t: time.Unix(0, 0)}
	var out strings.Builder
	p := newProgress(&out, "get", 0, c.now)
	c.advance(6 * time.Second)
	p.Set(1, "")
	c.advance(6 * time.Second)
	p.Set(4, "")
	p.Done()
	want := "get: 1, 6.0 s each\nget: 4, 3.0 s each\nget: 4 in 12s\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
