package program

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/dither-ml/dither/trainer/kernel"
)

// Explain prints the plan: every step with its arguments and its arithmetic, and what it takes in all.
func (t *Training) Explain(w io.Writer) {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "step\twhat\tMFLOP")
	for i, s := range t.steps {
		fmt.Fprintf(tab, "%d\t%v\t%.1f\n", i, s, s.flops()/1e6)
	}
	tab.Flush()
	fmt.Fprintf(w, "%d steps, %d collectives, buckets of %v floats, %.2f GFLOP, %.1f MiB\n", len(t.steps), t.ids, t.Buckets(), t.FLOPs()/1e9, float64(t.MemoryBytes())/(1<<20))
}

// FLOPs are the multiplications and additions of a step's convolutions and linear layers, as computed directly.
func (t *Training) FLOPs() float64 {
	sum := 0.0
	for _, s := range t.steps {
		sum += s.flops()
	}
	return sum
}

func (s *Step) flops() float64 {
	o := s.Op
	images := float64(o.Groups * o.N)
	switch o.Kind {
	case kernel.ConvForward, kernel.ConvDataGrad, kernel.ConvWeightGrad, kernel.ConvSquares:
		return 2 * images * float64(o.C*o.K*o.R*o.R) * float64(o.OutH()*o.OutW())
	case kernel.LinearForward, kernel.LinearDataGrad, kernel.LinearWeightGrad, kernel.LinearSquares:
		return 2 * images * float64(o.C*o.K)
	}
	return 0
}
