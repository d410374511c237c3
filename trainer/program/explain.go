package program

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Explain prints the plan: every step with its arguments, its arithmetic and the bytes that it moves, every planned value with its place in the arena and the
// steps that it lives for, and what it takes in all. With runs > 0, of a trainer that owns every shard and has its Input, it takes so many steps and
// says for each how long it took, at which rates, and what share of that the machine's roofline explains; it commits nothing.
func (t *Training) Explain(w io.Writer, runs int) error {
	var times []time.Duration
	var roof Roofline
	if runs > 0 {
		var err error
		if roof, err = Probe(t.machine.set); err != nil {
			return err
		}
		if times, err = t.machine.time(t.launches, runs); err != nil {
			return err
		}
	}
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if runs > 0 {
		t.timedSteps(tab, times, roof)
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
	if runs > 0 {
		t.byKind(w, times, roof)
	}
	fmt.Fprintf(w, "%d steps, %d collectives, buckets of %v floats, %.2f GFLOP, %.1f MiB\n", len(t.steps), t.ids, t.Buckets(), t.FLOPs()/1e9, float64(t.MemoryBytes())/(1<<20))
	return nil
}

func (t *Training) timedSteps(w io.Writer, times []time.Duration, roof Roofline) {
	fmt.Fprintln(w, "step\tus\troofline\tMFLOP\tMB\tGFLOP/s\tGB/s\twhat")
	for i, s := range t.steps {
		seconds := times[i].Seconds()
		fmt.Fprintf(w, "%d\t%.0f\t%.0f%%\t%.1f\t%.2f\t%.1f\t%.1f\t%v\n", i, 1e6*seconds, 100*roof.seconds(s)/seconds,
			s.flops()/1e6, s.bytes()/1e6, s.flops()/seconds/1e9, s.bytes()/seconds/1e9, s)
	}
}

// byKind adds the steps up by what they compute, the longest first.
func (t *Training) byKind(w io.Writer, times []time.Duration, roof Roofline) {
	type sum struct {
		name                         string
		steps                        int
		seconds, flops, bytes, least float64
	}
	sums, all := map[string]*sum{}, &sum{name: "all"}
	for i, s := range t.steps {
		name, _, _ := strings.Cut(s.String(), " ")
		if sums[name] == nil {
			sums[name] = &sum{name: name}
		}
		for _, k := range []*sum{sums[name], all} {
			k.steps++
			k.seconds += times[i].Seconds()
			k.flops += s.flops()
			k.bytes += s.bytes()
			k.least += roof.seconds(s)
		}
	}
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "\nkind\tsteps\tms\tof all\troofline\tGFLOP/s\tGB/s")
	kinds := slices.SortedFunc(maps.Values(sums), func(a, b *sum) int { return int(1e9 * (b.seconds - a.seconds)) })
	for _, k := range append(kinds, all) {
		fmt.Fprintf(tab, "%s\t%d\t%.2f\t%.1f%%\t%.0f%%\t%.1f\t%.1f\n", k.name, k.steps, 1e3*k.seconds, 100*k.seconds/all.seconds, 100*k.least/k.seconds, k.flops/k.seconds/1e9, k.bytes/k.seconds/1e9)
	}
	tab.Flush()
	fmt.Fprintf(w, "\nroofline: %.0f GFLOP/s (of a 3x3 convolution in cache, counted as a direct one), %.1f GB/s\n", roof.GFLOPS, roof.GBs)
}
