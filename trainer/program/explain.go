package program

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/dither-ml/dither/trainer/kernel"
)

// Explain prints the plan: every step with its arguments and its arithmetic, every planned value with its place in the arena and the steps that it lives
// for, and what it takes in all.
func (t *Training) Explain(w io.Writer) {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "step\tMFLOP\twhat")
	for i, s := range t.steps {
		fmt.Fprintf(tab, "%d\t%.1f\t%v\n", i, s.flops()/1e6, s)
	}
	fmt.Fprintln(tab, "\nvalue\telements\tat\tsteps")
	for _, v := range lifetimes(t.steps) {
		fmt.Fprintf(tab, "%s\t%d\t%d\t%d to %d\n", v.Name, v.Len, v.offset, v.first, v.last)
	}
	tab.Flush()
	fmt.Fprintf(w, "%d steps, %d collectives, buckets of %v floats, %.2f GFLOP, %.1f MiB\n", len(t.steps), t.ids, t.Buckets(), t.FLOPs()/1e9, float64(t.MemoryBytes())/(1<<20))
}

// lifetime is a value of the arena with the steps [first, last] between which its memory is its own.
type lifetime struct {
	*Value
	first, last int
}

// lifetimes are those of bound steps, by their first step.
func lifetimes(steps []*Step) []*lifetime {
	var all []*lifetime
	found := map[*Value]*lifetime{}
	for i, s := range steps {
		for _, v := range s.values() {
			v = v.root()
			if !v.planned {
				continue
			}
			life := found[v]
			if life == nil {
				life = &lifetime{v, i, i}
				found[v] = life
				all = append(all, life)
			}
			if life.last = i; v.lasts {
				life.last = len(steps)
			}
		}
	}
	return all
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
