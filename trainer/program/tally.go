package program

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// tally is what steps or kernels of one name take together.
type tally struct {
	name                         string
	count                        int
	seconds, flops, bytes, least float64 // least: seconds under the roofline
}

// tallies adds up by name.
type tallies struct {
	roof  Roofline
	names map[string]*tally
	all   *tally
}

func newTallies(roof Roofline) *tallies {
	return &tallies{roof: roof, names: map[string]*tally{}, all: &tally{name: "all"}}
}

// add adds n of a name, alike, that take so much together.
func (t *tallies) add(name string, n int, seconds, flops, bytes float64) {
	if t.names[name] == nil {
		t.names[name] = &tally{name: name}
	}
	for _, k := range []*tally{t.names[name], t.all} {
		k.count += n
		k.seconds += seconds
		k.flops += flops
		k.bytes += bytes
		k.least += float64(n) * t.roof.seconds(flops/float64(n), bytes/float64(n))
	}
}

// print is a table of them, the longest first.
func (t *tallies) print(w io.Writer, name, count string) {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tab, "\n%s\t%s\tms\tof all\troofline\tGFLOP\tMB\tGFLOP/s\tGB/s\n", name, count)
	sorted := slices.SortedFunc(maps.Values(t.names), func(a, b *tally) int { return cmp.Or(cmp.Compare(b.seconds, a.seconds), cmp.Compare(a.name, b.name)) })
	for _, k := range append(sorted, t.all) {
		fmt.Fprintf(tab, "%s\t%d\t%.3f\t%.1f%%\t%.0f%%\t%.2f\t%.1f\t%.1f\t%.1f\n", k.name, k.count, 1e3*k.seconds, 100*k.seconds/t.all.seconds, 100*k.least/k.seconds,
			k.flops/1e9, k.bytes/1e6, k.flops/k.seconds/1e9, k.bytes/k.seconds/1e9)
	}
	tab.Flush()
}
