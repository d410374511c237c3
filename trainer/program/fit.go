package program

import (
	"errors"
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
)

// What would fit is computed, not guessed: a program is built on a set that counts what it is asked for and gives nothing. Only where memory is short is that worth its time.

// counting stands for a set of which it has the kernels, and the traits, but no memory.
type counting struct {
	kernel.Set
	bytes int64
}

func (c *counting) Alloc(t kernel.Type, n int) (kernel.Memory, error) {
	c.bytes += int64(n) * int64(t.Size())
	return promise{t, n}, nil
}

func (*counting) NewStream() kernel.Stream { return idle{} }

// promise is memory by its length alone.
type promise struct {
	kind kernel.Type
	n    int
}

func (m promise) Type() kernel.Type                { return m.kind }
func (m promise) Len() int                         { return m.n }
func (m promise) Slice(from, to int) kernel.Memory { return promise{m.kind, to - from} }

// idle is a stream to nothing.
type idle struct{}

func (idle) Write(kernel.Memory, any)     {}
func (idle) Read(any, kernel.Memory)      {}
func (idle) Sync() error                  { return nil }
func (idle) Host(kernel.Memory) []float32 { return nil }
func (idle) NewMark() kernel.Mark         { return idle{} }

func (idle) Record(string, func()) kernel.Recording       { return idle{} }
func (idle) Pin(kernel.Type, int) (*kernel.Pinned, error) { return nil, nil }
func (idle) Replay()                                      {}
func (idle) Set(kernel.Stream)                            {}
func (idle) Before(kernel.Stream)                         {}
func (idle) Wait() error                                  { return nil }

// most is the greatest of 1 to limit for which what build makes fits into so many bytes; 0: none does. Memory grows with the number.
func most(set kernel.Set, bytes int64, limit int, build func(set kernel.Set, n int) error) int {
	fits := func(n int) bool {
		c := &counting{Set: set}
		return build(c, n) == nil && c.bytes <= bytes
	}
	low, high := 0, limit+1 // Invariant: low fits, high does not.
	for low+1 < high {
		if n := (low + high) / 2; fits(n) {
			low = n
		} else {
			high = n
		}
	}
	return low
}

// atMost builds what takes so many images at once, or as many as there is memory for; it gives the error of the former where not even one fits.
func atMost[P any](set kernel.Set, images int, build func(set kernel.Set, images int) (P, error)) (P, error) {
	p, first := build(set, images)
	for err := first; ; {
		short, is := errors.AsType[*kernel.NoMemory](err)
		if !is {
			return p, err
		}
		images = most(set, short.Free, images-1, func(set kernel.Set, n int) error { _, err := build(set, n); return err })
		if images == 0 {
			return p, fmt.Errorf("%w; not even one image fits: it takes more memory, or less beside it", first)
		}
		p, err = build(set, images)
	}
}

// fitting says, of a share that does not fit, what would.
func (c TrainingConfig) fitting(set kernel.Set, err error) error {
	short, is := errors.AsType[*kernel.NoMemory](err)
	if !is {
		return err
	}
	build := func(change func(c *TrainingConfig, n int)) func(kernel.Set, int) error {
		return func(set kernel.Set, n int) error {
			c := c
			change(&c, n)
			c.Batch = c.Images * c.Shards
			_, err := trainingOn(newMachine(set), c)
			return err
		}
	}
	images := most(set, short.Free, c.Images-1, build(func(c *TrainingConfig, n int) { c.Images = n }))
	shards := most(set, short.Free, c.Groups-1, build(func(c *TrainingConfig, n int) { c.Groups = n }))
	fits := "not even one sample a shard fits"
	if images > 0 {
		fits = fmt.Sprintf("%d samples a shard fit (--batch %d)", images, images*c.Shards)
	}
	switch {
	case shards > 0:
		fits += fmt.Sprintf(", or %d shards at once, with %d trainers of as much memory", shards, (c.Shards+shards-1)/shards)
	case images > 0 && c.Shards == 1:
		fits += ", or the batch in more --shards, with as many trainers of as much memory"
	}
	return fmt.Errorf("%w; %s", err, fits)
}
