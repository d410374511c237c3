package program

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Explain prints the plan: every step with its arguments, its arithmetic and the bytes that it moves, every planned value with its place in the arena and the
// steps that it lives for, and what it takes in all. With runs > 0, of a trainer that owns every shard and has its Input, it takes so many steps and
// says for each, those of the commit too, how long it took, at which rates, and what share of that the machine's roofline explains. They are committed with a learning rate
// of 0: parameters stay, momentum and running statistics do not.
func (t *Training) Explain(w io.Writer, runs int) error {
	var c *costs
	if runs > 0 {
		var err error
		if c, err = t.measure(runs); err != nil {
			return err
		}
	}
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if c != nil {
		c.printSteps(tab)
	} else {
		fmt.Fprintln(tab, "step\tMFLOP\tMB\twhat")
		for i, s := range t.steps {
			fmt.Fprintf(tab, "%d\t%.1f\t%.2f\t%v\n", i, s.flops()/1e6, s.bytes()/1e6, s)
		}
	}
	fmt.Fprintln(tab, "\nvalue\telements\tat\tsteps")
	for _, v := range lifetimes(t.steps) {
		fmt.Fprintf(tab, "%s\t%d\t%d\t%d to %d\n", v.Name, v.Len, v.offset, v.first, v.last)
	}
	tab.Flush()
	if c != nil {
		c.printSums(w)
	}
	fmt.Fprintf(w, "%d steps, %d collectives, buckets of %v floats, %.2f GFLOP, %.1f MiB\n", len(t.steps), t.ids, t.Buckets(), t.FLOPs()/1e9, float64(t.MemoryBytes())/(1<<20))
	return nil
}

func (c *costs) printSteps(w io.Writer) {
	fmt.Fprintln(w, "step\tus\troofline\tMFLOP\tMB\tGFLOP/s\tGB/s\twhat")
	for i, s := range c.steps {
		seconds := c.times[i].Seconds()
		fmt.Fprintf(w, "%d\t%.1f\t%.0f%%\t%.1f\t%.2f\t%.1f\t%.1f\t%v\n", i, 1e6*seconds, 100*c.roof.seconds(s.flops(), s.bytes())/seconds,
			s.flops()/1e6, s.bytes()/1e6, s.flops()/seconds/1e9, s.bytes()/seconds/1e9, s)
	}
}

// printSums adds the steps up by what they compute and, where they are several kernels of a device's, by those.
func (c *costs) printSums(w io.Writer) {
	kinds := newTallies(c.roof)
	for i, s := range c.steps {
		name, _, _ := strings.Cut(s.String(), " ")
		kinds.add(name, 1, c.times[i].Seconds(), s.flops(), s.bytes())
	}
	kinds.print(w, "kind", "steps")
	all, what := kinds.all, "steps"
	if c.parts != nil {
		parts := newTallies(c.roof)
		for _, p := range c.parts {
			parts.add(p.name, p.launches, p.time.Seconds(), p.flops, p.bytes)
		}
		parts.print(w, "kernel", "launches")
		all, what = parts.all, "kernels"
	}
	fmt.Fprintf(w, "\nroofline: %v\n", c.roof)
	fmt.Fprintf(w, "sum: the %d %s one by one %.3f ms, one after the other %.3f ms, between them %.3f ms; by the host's clock %.3f ms\n",
		all.count, what, 1e3*all.seconds, 1e3*c.whole.Seconds(), 1e3*(c.whole.Seconds()-all.seconds), 1e3*c.wall.Seconds())
}
