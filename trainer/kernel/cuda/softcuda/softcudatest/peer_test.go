package softcudatest

import (
	"strings"
	"testing"
)

const peerUnsupported, peerEnabled = 217, 704

// Two contexts, on two devices unless it says so: what one may read of the other's memory, and that it waits for what stands before an event there.
func TestPeers(t *testing.T) {
	const two, late = "SOFTCUDA_DEVICES=2", "SOFTCUDA_DEVICES=2 SOFTCUDA_CHECK=late"
	fetched := []string{"alloc a 2", "put a 1 2", "event e", "record e", "other 1", "stream s", "alloc b 2", "after e", "fetch b a 2", "get b 2"}
	for name, c := range map[string]struct {
		environment string
		calls       []string
		want        []string
	}{
		"devices":                  {two, []string{"can 0 1", "can 0 0", "can 0 2"}, []string{gave("can", 0, "1") + gave("can", 0, "0") + gave("can", invalidValue, "0")}},
		"reaching":                 {two, []string{"other 1", "reach 0", "reach 0", "other 0", "reach 1", "reach 0"}, []string{gave("other", 0) + gave("reach", 0) + gave("reach", peerEnabled) + gave("other", 0) + gave("reach", invalidValue) + gave("reach", 0)}},
		"reaching oneself":         {"", []string{"other 0", "reach 0"}, []string{gave("reach", peerUnsupported)}},
		"reaching what has ended":  {two, []string{"destroy", "other 1", "reach 0"}, []string{gave("reach", invalidContext)}},
		"a fetch":                  {two, fetched, []string{gave("get", 0, "1.0,2.0")}},
		"a fetch, late":            {late, fetched, []string{gave("get", 0, "1.0,2.0")}},
		"a fetch of another's":     {two, []string{"alloc a 2", "other 1", "stream s", "alloc b 2", "fetch b a 2 wrong"}, []string{gave("fetch", invalidValue), "its source is not of the context that it is said to be of"}},
		"a fetch that is too long": {two, []string{"alloc a 2", "other 1", "stream s", "alloc b 3", "fetch b a 3"}, []string{gave("fetch", invalidValue), "is not all of one allocation"}},
	} {
		t.Run(name, func(t *testing.T) {
			out := play(t, c.environment, c.calls...)
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
		})
	}
}
