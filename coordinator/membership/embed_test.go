package membership

import (
	"errors"
	"strings"
	"testing"

	ditherv1 "github.com/dither-ml/dither/proto/dither/v1"
)

func TestAnEtcdThatKeepsItsData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 2 {
		e, err := Embed(dir, EmbedOptions{Keep: true})
		if err != nil {
			t.Fatal(err)
		}
		c, err := Connect(t.Context(), e.Endpoints(), "r")
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			lead, err := c.Campaign(t.Context(), "one", ttl)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.PutGeneration(t.Context(), lead, &ditherv1.Generation{Number: 1, Reason: "kept"}); err != nil {
				t.Error(err)
			}
		} else if g, _, _, err := c.readGeneration(t.Context()); err != nil || g.GetReason() != "kept" {
			t.Errorf("an etcd that was started again has generation %v, %v", g, err)
		}
		if err := errors.Join(c.Close(), e.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestEtcdClustersThatAreNone(t *testing.T) {
	for cluster, want := range map[string]string{
		"a":                              "no member of an etcd cluster",
		"a=127.0.0.1:1":                  "no member of an etcd cluster",
		"a=http://127.0.0.1":             "no member of an etcd cluster",
		"b=http://127.0.0.1:1":           `no member of the name of this one, "a"`,
		"a=http://127.0.0.1:1,":          "no member of an etcd cluster",
		"a=http://h:1,b=https://h:1":     "no member of an etcd cluster",
		"=http://127.0.0.1:1,a=http://h": "no member of an etcd cluster",
	} {
		if _, err := Embed(t.TempDir(), EmbedOptions{Name: "a", PeerListen: "127.0.0.1:0", Cluster: cluster}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", cluster, err)
		}
	}
}
