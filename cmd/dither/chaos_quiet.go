package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dither-ml/dither/coordinator/runlog"
	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

const (
	samplesEach    = 8   // of a shard, in an iteration
	trialLength    = 200 // iterations of the run by which the length of the others is told
	teacherLength  = 20
	fewest         = 50  // iterations, however slow the machine
	slowDown       = 1.0 // of the trial's speed: proxies, and faults
	checkpointsPer = 12  // run
)

// quietRun is what every schedule's run must come to.
type quietRun struct {
	dir    string
	result *runlog.Result
	losses []float64 // by iteration, from 1
	took   time.Duration
}

// quiet makes the run to which nothing is done, and with it the spec of all.
func (o chaosOptions) quiet(ctx context.Context, a *app, dir string) (*quietRun, error) {
	teacher := ""
	if o.Teachers > 0 {
		at := filepath.Join(dir, "teacher")
		if err := o.execute(ctx, at, 1, teacherLength, "--loss", "ce", "--lr", "0.01"); err != nil {
			return nil, err
		}
		var err error
		if teacher, err = lastCheckpoint(at); err != nil {
			return nil, err
		}
	}
	iterations := o.Iterations
	if iterations == 0 {
		at := filepath.Join(dir, "trial")
		if err := o.execute(ctx, at, o.Trainers, trialLength, o.learning(teacher)...); err != nil {
			return nil, err
		}
		r, err := runlog.ReadResult(at)
		if err != nil {
			return nil, err
		}
		iterations = max(fewest, int(slowDown*o.Seconds*trialLength/max(r.Seconds, 0.01)))
	}
	q := &quietRun{dir: filepath.Join(dir, "quiet")}
	began := time.Now()
	if err := o.execute(ctx, q.dir, 1, iterations, o.learning(teacher)...); err != nil {
		return nil, err
	}
	q.took = time.Since(began)
	var err error
	if q.result, err = runlog.ReadResult(q.dir); err != nil {
		return nil, err
	}
	record, err := runlog.Read(q.dir)
	if err != nil {
		return nil, err
	}
	for _, it := range record.Iterations {
		q.losses = append(q.losses, it.Loss)
	}
	return q, nil
}

// learning is what the student learns from.
func (o chaosOptions) learning(teacher string) []string {
	if teacher == "" {
		return []string{"--loss", "ce", "--lr", "0.01"}
	}
	return []string{"--teacher", teacher, "--noise", "gaussian:sigma2=1", "--lr", "0.0005"}
}

// execute is `dither run` as a process of its own.
func (o chaosOptions) execute(ctx context.Context, out string, trainers, iterations int, more ...string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	args := append([]string{"run", "--dataset", "digits", "--train-limit", "640", "--test-limit", "64", "--gradient-norm", "8", "--model", o.Model, "--batch", fmt.Sprint(samplesEach * o.shards()),
		"--shards", fmt.Sprint(o.shards()), "--trainers", fmt.Sprint(trainers), "--iterations", fmt.Sprint(iterations), "--checkpoint-every", fmt.Sprint(max(1, iterations/checkpointsPer)),
		"--eval-every", "20", "--threads", "1", "--out", out}, more...)
	cmd := exec.CommandContext(ctx, exe, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return fmt.Errorf("a run to which nothing is done: %s (%w)", strings.TrimPrefix(lines[len(lines)-1], "dither: "), err)
	}
	return nil
}

// prepare makes the folder of a run of the same spec, and gives its name in etcd.
func (q *quietRun) prepare(run string) (name string, err error) {
	if err := os.MkdirAll(run, 0o755); err != nil {
		return "", err
	}
	for _, file := range []string{specName, teacherName} {
		if _, err := os.Stat(filepath.Join(q.dir, file)); os.IsNotExist(err) {
			continue // a run without a teacher
		}
		if err := copyFile(filepath.Join(run, file), filepath.Join(q.dir, file)); err != nil {
			return "", err
		}
	}
	file, err := readRunFile(filepath.Join(run, specName))
	if err != nil {
		return "", err
	}
	return runName(ditherv1.Hash(file.GetSpec()), run), nil
}

// differs says in words what of a run is not the quiet run's; empty: nothing. Of the iterations' records some may be missing, if that is said; their number is given.
func (q *quietRun) differs(r *ditherv1.RunResult, run string, mayLose bool) (why string, missing int) {
	if r.GetPhase() != "finished" {
		return fmt.Sprintf("the run %s: %s", r.GetPhase(), r.GetReason()), 0
	}
	if r.GetParametersSha256() != q.result.ParametersSHA256 {
		return fmt.Sprintf("its parameters are sha256:%s, and the quiet run's sha256:%s", r.GetParametersSha256(), q.result.ParametersSHA256), 0
	}
	record, err := runlog.Read(run)
	if err != nil {
		return err.Error(), 0
	}
	next := uint32(1)
	for _, it := range record.Iterations {
		k := it.Iteration
		switch {
		case k < next || int(k) > len(q.losses):
			return fmt.Sprintf("metrics.jsonl has iteration %d where %d is due, of %d", k, next, len(q.losses)), missing
		case it.Loss != q.losses[k-1]:
			return fmt.Sprintf("the loss of iteration %d is %v, and the quiet run's %v", k, it.Loss, q.losses[k-1]), missing
		}
		missing += int(k - next)
		next = k + 1
	}
	missing += len(q.losses) - int(next-1)
	if missing > 0 && !mayLose {
		return fmt.Sprintf("metrics.jsonl lacks %d of %d iterations, and nothing was done for which it may", missing, len(q.losses)), missing
	}
	return "", missing
}
