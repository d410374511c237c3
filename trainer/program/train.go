package program

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
)

// Training is one trainer's share of an iteration: its shards go through the network side by side.
type Training struct {
	*state
	config   TrainingConfig
	machine  *machine
	steps    []*Step
	launches []launch         // of the first room
	applying []*Step          // of the commit,
	commits  []launch         // ready
	commit   kernel.Recording // the update
	momentum *Value
	rate     *Value
	lr       dial
	rated    float64 // what lr was set to last, and its memory holds
	in       trainingInputs
	rooms    []*room // for inputs
	at, sent int     // the rooms of the last Step, and of the last input
	grads    []*Value
	sums     []*Value // what a commit applies: the buckets' sums, then the running statistics'
	loss     *Value
	correct  *Value
	losses   *port[float32]
	corrects *port[float32]
	told     *departure // losses and corrects
	ids      uint32
	summed   bool  // the last Step went well: its sums wait for a Commit
	alone    *Team // of this one
}

// trainingInputs are what Input fills, and the view of it.
type trainingInputs struct {
	view
	labels *Value
	soft   *Value // nil where no loss takes it
}

// NewTraining lowers the network of c with its loss and gradients, plans its memory and prepares its kernels. Where there is too little memory, the error says what would fit.
func NewTraining(set kernel.Set, c TrainingConfig) (*Training, error) {
	t, err := trainingOn(newMachine(set), c)
	if err != nil {
		return nil, c.fitting(set, err)
	}
	return t, nil
}

func trainingOn(m *machine, c TrainingConfig) (*Training, error) {
	if c.Groups < 1 || c.Images < 1 || c.Shards < c.Groups || c.Batch != c.Images*c.Shards {
		return nil, fmt.Errorf("%d of %d shards of %d samples do not make a share of a batch of %d", c.Groups, c.Shards, c.Images, c.Batch)
	}
	if c.BatchNorm != "shard" && c.BatchNorm != "global" {
		return nil, fmt.Errorf("batchnorm %q: it is shard or global", c.BatchNorm)
	}
	g, err := model.Training(c.Model, c.Groups*c.Images, c.Loss)
	if err != nil {
		return nil, err
	}
	t := &Training{config: c, machine: m, state: newState(m, g.Parameters)}
	steps, commit, err := t.lower(g)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Model.Name, err)
	}
	t.steps, t.applying = rewrite(steps, m.passes), commit
	launches, err := m.build(t.steps, commit)
	if err != nil {
		return nil, fmt.Errorf("%s, %d shards of %d samples at once: %w", c.Model.Name, c.Groups, c.Images, err)
	}
	t.launches, t.commits = launches[0], launches[1]
	if err := t.open(); err != nil {
		return nil, err
	}
	t.alone = newTeam([]*Training{t})
	return t, nil
}

// lower makes the steps: the view, the network, the loss, and the gradients bucket by bucket, each reduced as soon as it is complete; and those of the commit.
func (t *Training) lower(g *model.Graph) (steps, commit []*Step, err error) {
	c, m := t.config, t.machine
	l := newLowering(g, t.state, c.Groups, c.Images)
	tr := &training{TrainingConfig: c, state: t.state, local: c.Groups == c.Shards, gradSums: map[string]*Value{}}
	l.train = tr
	if err := t.inputs(l, g); err != nil {
		return nil, nil, err
	}
	for i, b := range t.buckets {
		tr.grads = append(tr.grads, m.keep(fmt.Sprintf("bucket %d", i), kernel.Real, c.Groups*b.floats))
	}
	tr.record = m.keep("record", kernel.Real, c.Groups*max(t.layout.running, 1))
	if t.loss, err = l.lower(g.Root); err != nil {
		return nil, nil, err
	}
	logits, err := l.lower(g.Logits)
	if err != nil {
		return nil, nil, err
	}
	t.correct = l.real("correct", c.Groups)
	l.emit(kernel.Op{Kind: kernel.Correct, C: c.Model.Classes, H: 1, W: 1, K: c.Model.Classes}, 1, logits, t.in.labels, t.correct)
	t.loss.lasts, t.correct.lasts = true, true
	var records *Value
	if t.layout.running > 0 {
		records = tr.reduce(l, tr.record, t.layout.running, 0, t.layout.running, false)
		records.root().lasts = true
	}
	sums, err := t.backward(l, g, tr)
	if err != nil {
		return nil, nil, err
	}
	for _, v := range sums {
		v.root().lasts = true
	}
	t.grads, t.ids, t.sums = tr.grads, tr.next, sums
	if records != nil {
		t.sums = append(slices.Clip(sums), records)
	}
	return append(l.steps, tr.arriving...), t.update(sums, records), nil
}

// inputs keeps what Input fills, and emits the view of it.
func (t *Training) inputs(l *lowering, g *model.Graph) error {
	c, n := t.config, t.config.Groups*t.config.Images
	x, err := viewOf(l, c.Model, n, c.Mean, c.Std, c.Pad)
	if err != nil {
		return err
	}
	t.in.view = *x
	t.in.labels = t.machine.keep("labels", kernel.Int, n)
	l.given[g.Input] = x.out
	if g.Labels != nil {
		l.given[g.Labels] = t.in.labels
	}
	if g.Soft != nil {
		t.in.soft = t.machine.keep("soft labels", kernel.Real, n*c.Model.Classes)
		l.given[g.Soft] = t.in.soft
	}
	return nil
}

// open makes the ports to the memory that was built, settles how the host sees what is reduced, and records what a Step and a Commit do.
func (t *Training) open() (err error) {
	m := t.machine
	if t.lr, err = newDial(m.stream, t.rate.Memory, m.apart); err != nil {
		return err
	}
	if t.losses, err = newPort[float32](m.stream, t.loss.Memory); err != nil {
		return err
	}
	if t.corrects, err = newPort[float32](m.stream, t.correct.Memory); err != nil {
		return err
	}
	t.told = m.departure("losses and correct images", func() {
		t.losses.fetch(m.side)
		t.corrects.fetch(m.side)
	})
	for _, s := range t.steps {
		if s.Kind == Start {
			if err := m.attach(s.Reduction, t.config.Groups); err != nil {
				return err
			}
		}
	}
	t.commit = m.record("the update of "+t.config.Model.Name, t.commits)
	return t.furnish(t.launches)
}

// backward emits the gradients in the order of the layout, and each bucket's sum once the bucket is complete.
func (t *Training) backward(l *lowering, g *model.Graph, tr *training) ([]*Value, error) {
	var sums []*Value
	for i, p := range t.order {
		if _, err := l.lower(g.Gradients[p.parameter.Name]); err != nil {
			return nil, err
		}
		if i+1 == len(t.order) || t.order[i+1].bucket != p.bucket {
			floats := t.buckets[p.bucket].floats
			sums = append(sums, tr.reduce(l, tr.grads[p.bucket], floats, 0, floats, false))
		}
	}
	return sums, nil
}

// update is the commit: SGD bucket by bucket, and the running statistics.
func (t *Training) update(sums []*Value, records *Value) (steps []*Step) {
	m := t.machine
	t.momentum, t.rate = m.keep("momentum", kernel.Real, t.parameters), m.keep("lr", kernel.Real, 1)
	for i, b := range t.buckets {
		op := kernel.Elementwise(kernel.SGD, b.floats)
		op.Momentum, op.WeightDecay = t.config.Momentum, t.config.WeightDecay
		steps = append(steps, &Step{Kind: Compute, Op: op, Args: []*Value{t.theta.piece("parameters", b.offset, b.floats),
			t.momentum.piece("momentum", b.offset, b.floats), sums[i], t.rate}})
	}
	if records != nil {
		op := kernel.Elementwise(kernel.RunningAverage, t.layout.running)
		op.Momentum, op.Scale = model.Momentum, 1/float64(t.config.Shards)
		steps = append(steps, &Step{Kind: Compute, Op: op, Args: []*Value{t.running, records}})
	}
	return steps
}

// Step is a Team's, of a trainer that has one kernel set.
func (t *Training) Step(c Collective) (losses, correct []float32, err error) { return t.alone.Step(c) }

// begin has the step wait for the input that was sent last.
func (t *Training) begin() {
	m := t.machine
	t.summed, t.at = false, t.sent
	r := t.rooms[t.at]
	r.arrived.Set(m.side)
	r.arrived.Before(m.stream)
}

// acts are those of the Step under way.
func (t *Training) acts() []act { return t.rooms[t.at].acts }

// ErrNoStep is Commit's answer where no Step went well since the last Commit.
var ErrNoStep = errors.New("nothing to commit: the last step failed, or was committed already")

// Commit applies the summed gradients and statistics of the last Step, all together, with learning rate lr; once (ErrNoStep). It does not wait for the device: whoever
// reads the state does, and hears of errors.
func (t *Training) Commit(lr float64) error {
	if !t.summed {
		return ErrNoStep
	}
	t.summed = false
	t.setRate(lr) // nothing reads the one before: the losses of a later step are here
	t.commit.Replay()
	return nil
}

func (t *Training) setRate(lr float64) {
	if lr != t.rated {
		t.lr.turn(lr)
		t.lr.send(t.machine.stream)
		t.rated = lr
	}
}

// LoadMomentum sets the momentum of a trainable parameter.
func (t *Training) LoadMomentum(name string, v []float32) error { return t.write(t.momentum, name, v) }

// ReadMomentum gets the momentum of a trainable parameter.
func (t *Training) ReadMomentum(name string, v []float32) error {
	return t.read(t.momentum, name, v, len(v))
}

// Collectives is how many collectives a step has: their ids are below it.
func (t *Training) Collectives() uint32 { return t.ids }

// Steps are the program's, for passes and people.
func (t *Training) Steps() []*Step { return t.steps }

// Buckets are the sizes of the gradient's buckets in floats, in the order in which the backward pass completes them.
func (t *Training) Buckets() []int {
	var out []int
	for _, b := range t.buckets {
		out = append(out, b.floats)
	}
	return out
}

// MemoryBytes is what the program allocated, at 4 bytes a number and 2 of half precision.
func (t *Training) MemoryBytes() int64 { return t.machine.bytes }

// KernelSet is the name of the set that computes.
func (t *Training) KernelSet() string { return t.machine.set.Name() }

// Close lets the memory go.
func (t *Training) Close() {}
