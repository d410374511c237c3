package trainer

import (
	"fmt"
	"strconv"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

// Slots of the metrics vector, one of each for every shard of the run: a shard fills its own and leaves the others zero, so that the sum
// over shards carries all of them to every trainer, exactly.
const (
	slotLoss    = 0 // its part of the loss
	slotCorrect = 1 // its images classified as the data set's label says
	slotStop    = 2 // 1 if its trainer wants the run to stop after this iteration
	slotSeconds = 3 // of computing: its part of its trainer's
	slotDigest  = 4 // of its soft labels: 64 bits, 16 in each of four floats, which hold such integers exactly
	slots       = 8
)

// shardMetrics is what one shard says of an iteration.
type shardMetrics struct {
	loss, correct, seconds float32
	stop                   bool
	digest                 string // "": it has no soft labels
}

// write fills the shard's slots [slots].
func (m shardMetrics) write(v []float32) {
	v[slotLoss], v[slotCorrect], v[slotSeconds] = m.loss, m.correct, m.seconds
	if m.stop {
		v[slotStop] = 1
	}
	if m.digest == "" {
		return
	}
	bits, err := strconv.ParseUint(m.digest, 16, 64)
	if err != nil {
		panic(fmt.Sprintf("trainer: the digest %q is not 64 bits in hex", m.digest))
	}
	for i := range 4 {
		v[slotDigest+i] = float32(bits >> (16 * i) & 0xffff)
	}
}

// digestOf reads the digest from a shard's slots.
func digestOf(v []float32) string {
	bits := uint64(0)
	for i := range 4 {
		bits |= uint64(v[slotDigest+i]) << (16 * i)
	}
	return fmt.Sprintf("%016x", bits)
}

// judge reads the summed metrics [slots*S]: what the iteration's record says, which is empty, whether to stop, and an error if a shard's loss is not finite.
func judge(sum []float32, o *ditherv1.OptimizerSpec, k uint32, labelled bool, record *ditherv1.IterationRecord) (stop bool, err error) {
	record.Iteration, record.Lr = k, LearningRate(o, k)
	for shard := range len(sum) / slots {
		v := sum[slots*shard : slots*(shard+1)]
		loss := v[slotLoss]
		if loss-loss != 0 {
			return false, fmt.Errorf("%w: it is %v at iteration %d in shard %d, before the update; lower --lr (now %.6g) or lengthen --warmup; the state after iteration %d is kept",
				ErrDiverged, loss, k, shard, record.Lr, k-1)
		}
		record.Loss += float64(loss)
		record.Correct += uint32(v[slotCorrect])
		record.ShardSeconds = append(record.ShardSeconds, v[slotSeconds])
		if labelled {
			record.LabelDigests = append(record.LabelDigests, digestOf(v))
		}
		stop = stop || v[slotStop] != 0
	}
	return stop, nil
}
