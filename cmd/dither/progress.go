package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

const (
	lineEvery  = 5 * time.Second  // between two plain lines, at least
	rateWindow = 20 * time.Second // over which the rate is taken, so that it follows a change
)

// Progress shows how far long work is: a bar with rate and time left on a terminal, elsewhere a plain line every few seconds. Any goroutine may call it.
type Progress struct {
	title string
	total int // 0: not known
	out   io.Writer
	now   func() time.Time

	mu       sync.Mutex
	began    time.Time
	n        int
	note     string
	recent   []mark // the last rateWindow, oldest first; never empty
	lastLine time.Time
	done     bool

	// Set on a terminal only.
	console *console
	bars    *mpb.Progress
	bar     *mpb.Bar
}

// mark is how far the work was at a time.
type mark struct {
	at time.Time
	n  int
}

// NewProgress begins to show work of total steps (0: not known) on w, where a console of an app that is a terminal gets a bar.
func NewProgress(w io.Writer, title string, total int) *Progress {
	return newProgress(w, title, total, time.Now)
}

func newProgress(w io.Writer, title string, total int, now func() time.Time) *Progress {
	p := &Progress{title: title, total: max(total, 0), out: w, now: now, began: now()}
	p.recent = []mark{{p.began, 0}}
	p.lastLine = p.began
	if c, ok := w.(*console); ok && c.terminal() {
		p.console = c
		p.bars = mpb.New(mpb.WithOutput(c.out), mpb.WithWidth(40))
		p.bar = p.bars.AddBar(int64(p.total),
			mpb.PrependDecorators(decor.Name(title)),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
				p.mu.Lock()
				defer p.mu.Unlock()
				return p.state()
			})))
		c.show(p.bars)
	}
	return p
}

// Set says that n steps are done in all, with a short note ("loss 0.31"; may be empty).
func (p *Progress) Set(n int, note string) {
	line := p.advance(n, note)
	// The bar asks for the lock to draw itself, and takes this only between two drawings, so the lock is not held here.
	if p.bar != nil {
		p.bar.SetCurrent(int64(n))
	} else if line != "" {
		io.WriteString(p.out, line)
	}
}

// advance notes the new state, and gives the line to print where one is due.
func (p *Progress) advance(n int, note string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return ""
	}
	at := p.now()
	if len(p.recent) == 1 && n > 1 {
		// Work that goes on from a checkpoint has not done its first n steps just now.
		p.recent[0] = mark{at, n}
	}
	p.n, p.note = n, note
	p.recent = append(p.recent, mark{at, n})
	for len(p.recent) > 2 && at.Sub(p.recent[1].at) >= rateWindow {
		p.recent = p.recent[1:]
	}
	if at.Sub(p.lastLine) < lineEvery {
		return ""
	}
	p.lastLine = at
	return fmt.Sprintf("%s: %s\n", p.title, p.state())
}

// Done ends the showing, whether or not the work is complete; what comes after it is ignored.
func (p *Progress) Done() {
	p.mu.Lock()
	if p.done {
		p.mu.Unlock()
		return
	}
	p.done = true
	last := fmt.Sprintf("%s: %s\n", p.title, p.summary())
	p.mu.Unlock()

	if p.bar == nil {
		io.WriteString(p.out, last)
		return
	}
	if p.total > 0 && p.n >= p.total {
		p.bar.SetTotal(int64(p.total), true)
	} else {
		p.bar.Abort(false)
	}
	p.bars.Wait()
	p.console.show(nil)
}

// state is the work so far, its rate and the time left.
func (p *Progress) state() string {
	if p.done {
		return p.summary()
	}
	s := p.count()
	if rate := p.rate(); rate > 0 {
		s += ", " + formatRate(rate)
		if p.total > p.n {
			s += ", " + formatDuration(time.Duration(float64(p.total-p.n)/rate*float64(time.Second))) + " left"
		}
	}
	return s + p.suffix()
}

// summary is the work done and the time that it took.
func (p *Progress) summary() string {
	return p.count() + " in " + formatDuration(p.now().Sub(p.began)) + p.suffix()
}

func (p *Progress) count() string {
	if p.total == 0 {
		return fmt.Sprint(p.n)
	}
	return fmt.Sprintf("%d/%d (%d %%)", p.n, p.total, p.n*100/p.total)
}

func (p *Progress) suffix() string {
	if p.note == "" {
		return ""
	}
	return "; " + p.note
}

// rate is steps a second over the recent past; 0 where there is nothing to take it from.
func (p *Progress) rate() float64 {
	first, last := p.recent[0], p.recent[len(p.recent)-1]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds <= 0 {
		return 0
	}
	return float64(last.n-first.n) / seconds
}

func formatRate(r float64) string {
	if r < 1 {
		return fmt.Sprintf("%.1f s each", 1/r)
	}
	return fmt.Sprintf("%.1f/s", r)
}

func formatDuration(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
