package kerneltest

import (
	"math/rand/v2"
	"testing"

	"github.com/dither-ml/dither/trainer/kernel"
	"github.com/dither-ml/dither/trainer/kernel/ref"
)

// Hold holds set to the contract on the ops given, as Run does on random ones: shapes that only this set treats apart.
func Hold(t *testing.T, set kernel.Set, seed uint64, ops ...kernel.Op) {
	oracle := ref.New()
	for i, op := range ops {
		t.Run(op.String(), func(t *testing.T) {
			op.Block, op.Half = 0, false // the suite thinks in plain activations
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			s := &subject{t, set, op, rounded(set.Traits(), op, values(r, op))}
			if op.Input == kernel.Alone && op.Before == kernel.Alone && op.After == kernel.Alone && op.Beside == kernel.Alone {
				s.check(oracle, nil, r)
				return
			}
			got := newLauncher(t, set, op).run(s.in, nil)
			s.asUnfused(got)
			s.groupsAlone(got)
		})
	}
}
