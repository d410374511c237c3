package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// crewSize is how many trainers a run asks for. Invariant once it is checked: 1 <= min <= start <= max.
type crewSize struct {
	start uint32 // with which it begins
	min   uint32 // with fewer it does not go on
	max   uint32 // which it never exceeds; 0: one for each shard
	// children is how many `dither run` starts: MAX, or N; more may come from elsewhere.
	children uint32
}

// parseTrainers reads --trainers: N (begin with N, go on with any number of them) or MIN:MAX.
func parseTrainers(text string) (crewSize, error) {
	bad := func(why string, args ...any) (crewSize, error) {
		return crewSize{}, badInputf("--trainers %s: %s", text, fmt.Sprintf(why, args...))
	}
	number := func(s string) (uint32, bool) {
		n, err := strconv.ParseUint(s, 10, 31)
		return uint32(n), err == nil
	}
	low, high, ranged := strings.Cut(text, ":")
	n, ok := number(low)
	if !ok {
		return bad("%q is no number of trainers; write N, or MIN:MAX such as 2:4", low)
	}
	if n == 0 {
		return bad("a run needs at least one trainer")
	}
	if !ranged {
		return crewSize{start: n, min: 1, children: n}, nil
	}
	m, ok := number(high)
	if !ok {
		return bad("%q is no number of trainers; write N, or MIN:MAX such as 2:4", high)
	}
	if n > m {
		return bad("the fewest, %d, are more than the most, %d; write MIN:MAX, the fewest first", n, m)
	}
	return crewSize{start: n, min: n, max: m, children: m}, nil
}

// shards is the fewest of a run, one for each trainer that there may be at first.
func (c crewSize) shards() uint32 { return max(c.start, c.max) }

// within is the size for a run of that many shards, none of whose trainers may be without one.
func (c crewSize) within(shards uint32) (crewSize, error) {
	if n := c.shards(); n > shards {
		return c, badInputf("%d trainers are more than %d shards, and a trainer without a shard has nothing to do; say --trainers %d, or start a run with more --shards", n, shards, shards)
	}
	if c.max == 0 {
		c.max = shards
	}
	return c, nil
}

// leastSilence keeps a busy machine's pauses from being taken for deaths.
const leastSilence = 200 * time.Millisecond

// checkSilence wants --silence to be a time in which a trainer that lives can say so.
func checkSilence(d time.Duration) error {
	if d < leastSilence {
		return badInputf("--silence %v: a trainer that lives may be silent for longer; give %v or more", d, leastSilence)
	}
	return nil
}

// readTrainers reads what the flags say of trainers, before the shards are known.
func (f *runFlags) readTrainers() (err error) {
	if err = checkSilence(f.silence); err == nil {
		f.crew, err = parseTrainers(f.trainers)
	}
	switch {
	case err != nil:
		return err
	case f.gpus == 0:
		return badInputf("--gpus 0: a trainer has one GPU or several; without any it computes with --kernels auto")
	}
	return checkGPUCount(f.kernels, int(f.gpus))
}

// defaultShards is how many shards a spec gets that says nothing of them: one for each trainer that there may be at first, or each of its GPUs.
func (f *runFlags) defaultShards() uint32 { return f.crew.children * f.gpus }

// checkTrainers wants from one trainer to one for each shard.
func (f *runFlags) checkTrainers(shards uint32) (err error) {
	if f.crew, err = f.crew.within(shards); err == nil && f.gpus > 1 && f.defaultShards() > shards {
		err = badInputf("%d trainers of %d GPUs each are more GPUs than %d shards, and a GPU without a shard has nothing to do; say fewer, or start a run with more --shards", f.crew.children, f.gpus, shards)
	}
	return err
}

// checkGPUs wants GPUs for each trainer of this machine, unless they may share.
func (f *runFlags) checkGPUs() error {
	if f.kernels != "cuda" || f.shareGPU && f.gpus == 1 {
		return nil
	}
	d, err := askDriver()
	n, each := len(d.Devices), int(f.gpus)
	switch {
	case err != nil:
		return err
	case n < each:
		return badInputf("--kernels cuda: --gpus %d of a trainer and %d visible GPUs; say --gpus %d", each, n, n)
	case n < each*int(f.crew.children) && !f.shareGPU && each > 1:
		return badInputf("--kernels cuda: %d trainers of %d GPUs each and %d visible GPUs; say --trainers %d, or --share-gpu", f.crew.children, each, n, n/each)
	case n < int(f.crew.children) && !f.shareGPU:
		return badInputf("--kernels cuda: %d trainers and %d visible GPUs; say --trainers %d, or --share-gpu", f.crew.children, n, n)
	}
	return nil
}
