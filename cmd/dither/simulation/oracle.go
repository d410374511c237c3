package simulation

// oracle is the quiet run, computed by a plain loop over all shards: nothing of the code under test is in it.
type oracle struct {
	digests []uint64  // of the state after each iteration, from 0
	losses  []float64 // of each iteration, from 1
	labels  [][]string
	tests   []float64 // loss of the test images after each iteration, from 0
	norm    float64   // squared gradient norm at the end
	last    *state
}

func quietRun(seed uint64, shards int, iterations uint32) *oracle {
	s := newState(seed)
	o := &oracle{digests: []uint64{s.digest()}, losses: []float64{0}, labels: [][]string{nil}, tests: []float64{s.testLoss()}}
	for k := uint32(1); k <= iterations; k++ {
		loss := 0.0
		var digests []string
		soft := make([][]float32, shards)
		for shard := range shards {
			soft[shard] = softLabels(seed, k, samplesOf(seed, k, shard, shard+1))
			loss += float64(s.loss(k, shard, soft[shard]))
			digests = append(digests, labelDigest(soft[shard]))
		}
		before := s.clone()
		for b, n := range sizes {
			leaves := make([][]float32, shards)
			for shard := range shards {
				leaves[shard] = make([]float32, n)
				before.gradient(b, k, shard, soft[shard], leaves[shard])
			}
			s.commit(b, k, treeSum(leaves))
		}
		o.digests, o.losses, o.labels, o.tests = append(o.digests, s.digest()), append(o.losses, loss), append(o.labels, digests), append(o.tests, s.testLoss())
	}
	for i := range normImages {
		o.norm += s.norm(i)
	}
	o.norm /= normImages
	o.last = s
	return o
}

func (s *state) testLoss() (sum float64) {
	for i := range testImages {
		loss, _ := s.judge(i)
		sum += loss
	}
	return sum / testImages
}

// treeSum adds leaves in the fixed tree: n of them split at the largest power of two below n.
func treeSum(leaves [][]float32) []float32 {
	if len(leaves) == 1 {
		return leaves[0]
	}
	at := 1
	for 2*at < len(leaves) {
		at *= 2
	}
	left, right := treeSum(leaves[:at]), treeSum(leaves[at:])
	out := make([]float32, len(left))
	for i := range out {
		out[i] = left[i] + right[i]
	}
	return out
}
