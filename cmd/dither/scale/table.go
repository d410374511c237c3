package scale

import (
	"fmt"
	"strings"
)

// followed is up to how many trainers each message of the direct way is followed.
const followed = 100

// fanIn is that of a level-by-level all-reduce in the tables.
const fanIn = 16

// What handling a message costs on the 2-core machine of docs/benchmarks.md, over loopback TCP. `go test -bench Message ./trainer/allreduce`: 3.1 to 3.9 µs of a core for both ends together where
// messages follow each other closely; the model takes 4 µs for each end. An all-reduce of 855,770 floats between 2 trainers without shared memory: 3.6 ms, in which each handles 6.8 MB.
const (
	PerMessage = 4e-6
	PerByte    = 0.5e-9
)

// Nets are those of the tables.
func Nets() []Net {
	return []Net{
		{Name: "10 Gb/s, 50 µs", Latency: 50e-6, Bandwidth: 1.25e9, PerMessage: PerMessage, PerByte: PerByte},
		{Name: "100 Gb/s, 10 µs", Latency: 10e-6, Bandwidth: 12.5e9, PerMessage: PerMessage, PerByte: PerByte},
	}
}

// Jobs are those of the tables: the buckets of ResNet-56 as trainer/program cuts them, and a network of 25 million parameters.
func Jobs() []Job {
	resnet := Job{Name: "855,770 floats, step 100 ms", Step: 0.1}
	for left := 855770; left > 0; left -= 128 << 10 {
		resnet.Buckets = append(resnet.Buckets, min(left, 128<<10))
	}
	large := Job{Name: "25 million floats, step 100 ms", Step: 0.1}
	for range 25 {
		large.Buckets = append(large.Buckets, 1000000)
	}
	return []Job{resnet, large}
}

// Table is a job's exposed communication at each size, in milliseconds, as Markdown.
func Table(n Net, j Job, sizes []int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s; %s**\n\n", j.Name, n.Name)
	b.WriteString("| trainers | limit | direct (today) | level by level | ring | messages, direct | by level | ring | streams of a trainer, direct | by level |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|\n")
	for _, size := range sizes {
		limit, ring, levels := Limit(size, j, n), Ring(size, j, n), Levels(size, fanIn, j, n)
		direct := DirectLarge(size, j, n)
		if size <= followed {
			direct = Direct(size, j, n)
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %d | %d | %d | %d | %d |\n", size, ms(limit), ms(direct), ms(levels), ms(ring),
			direct.Messages, levels.Messages, ring.Messages, direct.Streams, levels.Streams)
	}
	return b.String()
}

func ms(r Result) string { return fmt.Sprintf("%.3g", 1e3*r.Exposed) }
