package softcudatest

import (
	"strings"
	"testing"
)

const (
	illegalState, notReady, invalidHandle                = 401, 600, 400
	captureMerge, captureUnmatched, captureUnjoined      = 902, 903, 904
	captureIsolation, captureImplicit, capturedEvent     = 905, 906, 907
	captureWrongThread                                   = 908
	kernelNode, copyNode, fillNode, graphNode, eventNode = "0", "1", "2", "4", "7"
	fork, join                                           = "record f|stream side|after f", "record j|stream main|after j"
)

// script plays calls that | separates, and holds that its output has all that is wanted, in order.
func script(t *testing.T, environment, calls string, want ...string) {
	t.Helper()
	out := play(t, environment, strings.Split(calls, "|")...)
	rest := out
	for _, w := range want {
		_, after, found := strings.Cut(rest, w)
		if !found {
			t.Fatalf("no %q with %s behind what was found in\n%s", w, environment, out)
		}
		rest = after
	}
}

// A graph does, each time that it is replayed, what was captured: copies from what the host's memory holds then, fills, kernels and copies back.
func TestGraphs(t *testing.T) {
	for i, checks := range every {
		end := []string{"end", "end params", "end clone"}[i%3]
		script(t, "SOFTCUDA_CHECK="+checks,
			"alloc x 4|alloc y 4|alloc z 4|capture|put x 1 2 3 4|fill y 4 10|launch axpy 1 4 0 x y float:2 int:4|copy z y 4|take z 4|"+end+"|nodes|"+
				"fill z 4 0|get z 4|replay|wait|taken|replay|wait|taken|get y 4|forget|replay",
			"nodes: 0 "+strings.Join([]string{copyNode, fillNode, kernelNode, copyNode, copyNode}, " ")+"\n",
			gave("get", 0, "0.0,0.0,0.0,0.0"), // nothing was done yet
			gave("taken", 0, "12.0,14.0,16.0,18.0"), gave("taken", 0, "12.0,14.0,16.0,18.0"), gave("get", 0, "12.0,14.0,16.0,18.0"),
			gave("forget", 0)+gave("replay", invalidValue))
	}
}

// Two streams of one graph: the second joins it by an event, and is joined again.
func TestForkAndJoin(t *testing.T) {
	const begin = "alloc x 4|alloc y 4|alloc z 4|event f untimed|event j untimed|capture|put x 1 2 3 4|"
	for _, checks := range every {
		script(t, "SOFTCUDA_CHECK="+checks,
			begin+"record f|fill y 4 10|stream side|after f|status|launch axpy 1 4 0 x x float:1 int:4|"+join+"|launch axpy 1 4 0 x y float:1 int:4|end|stream side|status|stream main|replay|get y 4",
			gave("status", 0, "1"), gave("end", 0), gave("status", 0, "0"), gave("get", 0, "12.0,14.0,16.0,18.0"))
	}
	// Without the join the last kernel may run before the second stream's, and with it must not.
	for _, c := range []struct{ checks, joined, want string }{
		{"", "after j", "12.0,14.0,16.0,18.0"},
		{"order", "after j", "12.0,14.0,16.0,18.0"},
		{"", "status", "12.0,14.0,16.0,18.0"},
		{"order", "status", "11.0,12.0,13.0,14.0"},
	} {
		script(t, "SOFTCUDA_CHECK="+c.checks,
			begin+"fill y 4 10|"+fork+"|launch axpy 1 4 0 x x float:1 int:4|record j|stream main|"+c.joined+"|launch axpy 1 4 0 x y float:1 int:4|after j|end|replay|get y 4",
			gave("end", 0), gave("get", 0, c.want))
	}
}

// What cannot be captured is refused, and spoils the capture.
func TestRefusedInCapture(t *testing.T) {
	for _, c := range []struct {
		name, calls string
		want        []string
	}{
		{"nothing was begun", "end", []string{gave("end", illegalState)}},
		{"twice", "capture|capture|end", []string{gave("capture", 0) + gave("capture", illegalState) + gave("end", 0)}},
		{"the legacy stream", "stream null|capture", []string{gave("capture", captureUnsupported)}},
		{"waiting for the stream", "capture relaxed|status|wait|status|put x 1|end|status", []string{gave("status", 0, "1") + gave("wait", captureUnsupported) + gave("status", 0, "2") + gave("put", captureInvalidated) + gave("end", captureInvalidated) + gave("status", 0, "0")}},
		{"asking for the stream", "capture relaxed|query|end", []string{gave("query", captureUnsupported) + gave("end", captureInvalidated)}},
		{"waiting for the context", "capture relaxed|sync|end", []string{gave("sync", captureUnsupported) + gave("end", captureInvalidated)}},
		{"waiting for another stream", "capture|stream side|wait|stream main|end", []string{gave("wait", captureUnsupported), gave("end", captureInvalidated)}},
		{"waiting for another stream, relaxed", "capture relaxed|stream side|wait|stream main|end", []string{gave("wait", 0), gave("end", 0)}},
		{"allocating", "capture|alloc z 4|end", []string{gave("alloc", captureUnsupported) + gave("end", captureInvalidated)}},
		{"allocating, of this thread", "capture local|alloc z 4|end", []string{gave("alloc", captureUnsupported) + gave("end", captureInvalidated)}},
		{"allocating, relaxed", "capture relaxed|alloc z 4|free z|end", []string{gave("alloc", 0) + gave("free", 0) + gave("end", 0)}},
		{"freeing", "capture|free x|end", []string{gave("free", captureUnsupported) + gave("end", captureInvalidated)}},
		{"allocating in another thread", "capture|elsewhere alloc z 4|end", []string{gave("alloc", captureUnsupported) + gave("end", captureInvalidated)}},
		{"allocating in another thread, of this thread", "capture local|elsewhere alloc z 4|end", []string{gave("alloc", 0) + gave("end", 0)}},
		{"allocating in a relaxed thread", "relax|capture|alloc z 4|end", []string{gave("relax", 0, "0"), gave("alloc", 0) + gave("end", 0)}},
		{"a copy that waits", "capture|get x 1|end", []string{gave("get", captureUnsupported, "0.0") + gave("end", captureInvalidated)}},
		{"a copy that waits, relaxed", "capture relaxed|get x 1|end", []string{gave("get", 0, "nan") + gave("end", 0)}},
		{"a copy that waits for a stream that does not let it by", "stream b blocking|capture relaxed|get x 1|end", []string{gave("get", captureImplicit, "0.0") + gave("end", captureInvalidated)}},
		{"the legacy stream waits for it", "stream b blocking|capture relaxed|stream null|put x 1|status|stream b|end", []string{gave("put", captureImplicit) + gave("status", captureImplicit, "0"), gave("end", captureInvalidated)}},
		{"the legacy stream does not wait for it", "capture relaxed|stream null|put x 1|status|stream main|end", []string{gave("put", 0) + gave("status", 0, "0"), gave("end", 0)}},
		{"a fork is not joined", "event f|capture|" + fork + "|put x 1|stream main|end|replay|stream side|status", []string{gave("end", captureUnjoined), gave("status", 0, "0")}},
		{"a fork without work", "event f|capture|" + fork + "|stream main|end", []string{gave("end", 0)}},
		{"work behind the join", "event f|event j|capture|" + fork + "|put x 1|record j|put x 2|stream main|after j|end", []string{gave("end", captureUnjoined)}},
		{"ended on the second stream", "event f|capture|" + fork + "|end", []string{gave("end", captureUnmatched)}},
		{"ended in another thread", "capture local|elsewhere end|end", []string{gave("end", captureWrongThread) + gave("end", 0)}},
		{"ended in another thread, relaxed", "capture relaxed|elsewhere end", []string{gave("end", 0)}},
		{"behind what is not captured", "event e|record e|capture|after e|end", []string{gave("after", captureIsolation) + gave("end", captureInvalidated)}},
		{"behind what is not captured, as a node", "event e|record e|capture|after e in|end|nodes", []string{gave("after", 0) + gave("end", 0) + gave("nodes", 0, "6")}},
		{"as a node without a capture", "event e|record e|after e in|record e in", []string{gave("after", invalidValue) + gave("record", invalidValue)}},
		{"two captures meet", "event e|capture|record e|stream side|capture|after e|end|stream main|end", []string{gave("after", captureMerge) + gave("end", captureInvalidated), gave("end", captureInvalidated)}},
		{"the legacy stream behind a captured event", "event e|capture|record e|stream null|after e|stream main|end", []string{gave("after", captureImplicit), gave("end", captureInvalidated)}},
		{"a captured event is asked for", "event e|capture relaxed|record e|asked e|end|asked e|awaited e|record e|awaited e|asked e", []string{gave("asked", capturedEvent) + gave("end", captureInvalidated) + gave("asked", capturedEvent) + gave("awaited", capturedEvent) + gave("record", 0) + gave("awaited", 0) + gave("asked", 0)}},
		{"an event of a capture that is over", "event e|capture|record e|end|after e|elapsed e e", []string{gave("end", 0) + gave("after", capturedEvent) + gave("elapsed", capturedEvent)}},
		{"another event is asked for", "event e|record e|capture|asked e|end", []string{gave("asked", captureUnsupported) + gave("end", captureInvalidated)}},
		{"another event is waited for, relaxed", "event e|record e|capture relaxed|awaited e|end", []string{gave("awaited", 0) + gave("end", 0)}},
		{"the stream is destroyed", "event f|capture|" + fork + "|stream main|drop|stream side|status", []string{gave("drop", 0), gave("status", 0, "0")}},
		{"the second stream is destroyed", "event f|capture|" + fork + "|drop|stream main|end", []string{gave("drop", 0), gave("end", captureInvalidated)}},
	} {
		t.Run(c.name, func(t *testing.T) { script(t, "", "alloc x 1|"+c.calls, c.want...) })
	}
}

// A graph within a graph is one node; what it uses may be gone.
func TestReplays(t *testing.T) {
	for _, checks := range every {
		script(t, "SOFTCUDA_CHECK="+checks, "alloc y 1|put y 1|capture|launch axpy 1 1 0 y y float:1 int:1|end|capture|replay|replay|end|nodes|replay|forget|get y 1",
			gave("nodes", 0, graphNode, graphNode), gave("replay", 0)+gave("forget", 0)+gave("get", 0, "4.0"))
		script(t, "SOFTCUDA_CHECK="+checks, "alloc y 1|capture|fill y 1 0|end|free y|replay|sync", gave("free", 0), gave("sync", illegalAddress))
	}
}

func TestEvents(t *testing.T) {
	script(t, "", "alloc y 64|event a|event b|event c untimed|elapsed a b|record a|elapsed a b|launch bounded 1 64 0 y|record b|record c|wait|elapsed a b|elapsed b a|elapsed a a|elapsed a c",
		gave("elapsed", invalidHandle), gave("elapsed", invalidHandle), gave("elapsed", 0, "above 0")+gave("elapsed", 0, "below 0")+gave("elapsed", 0, "at 0")+gave("elapsed", invalidHandle))
	script(t, "SOFTCUDA_CHECK=late", "event a|record a|asked a|query|elapsed a a|awaited a|asked a|query|elapsed a a",
		gave("asked", notReady)+gave("query", notReady)+gave("elapsed", notReady)+gave("awaited", 0)+gave("asked", 0)+gave("query", 0)+gave("elapsed", 0, "at 0"))
	// Recorded by a graph, each time.
	script(t, "", "alloc y 64|event a|event b|capture|record a in|launch bounded 1 64 0 y|record b in|end|nodes|elapsed a b|replay|wait|elapsed a b|record b|elapsed a b|replay|elapsed a b",
		gave("nodes", 0, eventNode, kernelNode, eventNode)+gave("elapsed", invalidHandle), gave("elapsed", 0, "above 0"), gave("elapsed", 0, "above 0"), gave("elapsed", 0, "above 0"))
}
