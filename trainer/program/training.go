package program

import (
	"fmt"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/model"
)

// TrainingConfig is what fixes a training program.
type TrainingConfig struct {
	Model       model.Spec
	Groups      int        // shards that this trainer owns
	Images      int        // samples of one shard
	Batch       int        // samples of the whole batch, B
	Shards      int        // of the whole batch, S
	Loss        model.Loss //
	BatchNorm   string     // statistics over the "shard" or the whole batch ("global")
	Momentum    float64    // mu of SGD
	WeightDecay float64    // lambda of SGD
	Mean, Std   []float64  // of the channels of pixels/255
	Pad         int        // of the views
}

// training is what the lowering of a training graph needs beyond inference.
type training struct {
	TrainingConfig
	*state
	local    bool              // this trainer owns every shard: sums need nobody else
	grads    []*Value          // by bucket, [groups][floats]
	record   *Value            // BatchNorm's statistics for the running ones, [groups][running]
	arriving []*Step           // the waits for the buckets and the record, which end a step
	next     uint32            // collective
	gradSums map[string]*Value // global BatchNorm: dgamma, dbeta over the whole batch, by layer
}

// scale is the factor of a loss: its weight over B.
func (t *training) scale(code model.Code) float64 {
	w := map[model.Code]float64{model.Quadratic: t.Loss.Quadratic, model.KD: t.Loss.KD, model.CE: t.Loss.CE,
		model.QuadraticGrad: t.Loss.Quadratic, model.KDGrad: t.Loss.KD, model.CEGrad: t.Loss.CE}[code]
	return w / float64(t.Batch)
}

func (t *training) lossOp(l *lowering, kind kernel.Kind, op *model.Op) kernel.Op {
	o := l.geometry(kind, op)
	o.K, o.Scale = o.C, t.scale(op.Code)
	if kind == kernel.KDForward || kind == kernel.KDGrad {
		o.Temperature = t.Loss.Temperature
	}
	return o
}

func (t *training) loss(l *lowering, op *model.Op, in []*Value) *Value {
	kind := map[model.Code]kernel.Kind{model.Quadratic: kernel.QuadraticForward, model.KD: kernel.KDForward, model.CE: kernel.CEForward}[op.Code]
	out := l.real("loss", l.groups)
	l.emit(t.lossOp(l, kind, op), 1, in[0], in[1], out)
	return out
}

// gradient is where a parameter's gradient goes, the first group's part and all behind it, and the distance between the groups' parts.
func (t *training) gradient(name string) (*Value, int) {
	p := t.places[name]
	b := t.grads[p.bucket]
	return b.piece("gradient of "+name, p.inBucket, b.Len-p.inBucket), t.buckets[p.bucket].floats
}

// reduce emits the sum over all shards of a piece of each group's part of in. Where this trainer owns every shard, it adds them up itself, in
// the same tree; else it is a collective, whose sum is there at once only if the steps that follow need it.
func (t *training) reduce(l *lowering, in *Value, stride, from, n int, now bool) *Value {
	if t.local {
		return t.tree(l, func(g int) *Value { return in.piece(fmt.Sprintf("%s of shard %d", in.Name, g), g*stride+from, n) }, 0, t.Groups, n)
	}
	out := l.real("sum of "+in.Name, n)
	r := &Reduction{ID: t.next, In: in, From: from, Len: n, split: stride, Out: out}
	t.next++
	l.steps = append(l.steps, &Step{Kind: Start, Reduction: r})
	if now {
		l.steps = append(l.steps, &Step{Kind: Wait, Reduction: r})
	} else {
		t.arriving = append(t.arriving, &Step{Kind: Wait, Reduction: r})
	}
	return out
}

// tree emits the additions of the fixed tree over shards [a, b).
func (t *training) tree(l *lowering, part func(g int) *Value, a, b, n int) *Value {
	if b-a == 1 {
		return part(a)
	}
	m := kernel.Split(a, b)
	left, right := t.tree(l, part, a, m, n), t.tree(l, part, m, b, n)
	out := l.real(fmt.Sprintf("sum of shards %d to %d", a, b-1), n)
	l.emit(kernel.Elementwise(kernel.Add, n), 1, left, right, out)
	return out
}

// statistics emits a BatchNorm's statistics over each shard, or over the whole batch.
func (t *training) statistics(l *lowering, op *model.Op, x *Value) *stats {
	c := op.In[1]
	s := &stats{mean: l.real("mean "+op.Layer, l.groups*c), variance: l.real("variance "+op.Layer, l.groups*c)}
	l.stats[op.Layer] = s
	at := t.places[op.Layer+".running_mean"].offset
	record := t.record.piece("record "+op.Layer, at, t.record.Len-at)
	shift := l.state.value(op.Layer + ".running_mean")
	if t.BatchNorm == "shard" {
		o := l.geometry(kernel.NormStats, op)
		o.RecordStride = t.state.layout.running
		l.emit(o, 3, x, shift, s.mean, s.variance, record)
		return s
	}
	sums := l.real("sums "+op.Layer, l.groups*2*c)
	l.emit(l.geometry(kernel.NormSums, op), 1, x, shift, sums)
	total := t.reduce(l, sums, 2*c, 0, 2*c, true)
	o := kernel.Op{Kind: kernel.NormFinish, C: c, Count: t.count(op), RecordStride: t.state.layout.running}
	l.emit(o, 3, total, shift, s.mean, s.variance, record)
	return s
}

// count is the elements a channel that a BatchNorm's statistics are over.
func (t *training) count(op *model.Op) int {
	images := t.Images
	if t.BatchNorm == "global" {
		images = t.Batch
	}
	return images * op.In[2] * op.In[3]
}

// normSums emits the gradients of gamma and beta, side by side in their bucket; over the whole batch they are summed at once too.
func (t *training) normSums(l *lowering, op *model.Op, in []*Value) *Value {
	s := l.stats[op.Layer]
	dgamma, stride := t.gradient(op.Layer + ".weight")
	dbeta, _ := t.gradient(op.Layer + ".bias")
	o := l.geometry(kernel.NormGradSums, op)
	o.Epsilon, o.GroupStride = model.Epsilon, stride
	l.emit(o, 2, in[0], in[1], s.mean, s.variance, dgamma, dbeta)
	if t.BatchNorm == "global" {
		p := t.places[op.Layer+".weight"]
		t.gradSums[op.Layer] = t.reduce(l, t.grads[p.bucket], stride, p.inBucket, 2*aligned(op.In[1]), true)
	}
	return nil
}

func (t *training) normDataGrad(l *lowering, op *model.Op, in []*Value, dx *Value) {
	s := l.stats[op.Layer]
	o := l.geometry(kernel.NormDataGrad, op)
	o.Epsilon, o.Count = model.Epsilon, t.count(op)
	dgamma, stride := t.gradient(op.Layer + ".weight")
	dbeta, _ := t.gradient(op.Layer + ".bias")
	o.GroupStride = stride
	if t.BatchNorm == "global" {
		both := t.gradSums[op.Layer]
		o.GroupStride = -1
		dgamma = both
		dbeta = both.piece(both.Name, aligned(op.In[1]), both.Len-aligned(op.In[1]))
	}
	l.emit(o, 1, in[0], in[1], s.mean, s.variance, in[2], dgamma, dbeta, dx)
}
