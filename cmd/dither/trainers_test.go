package main

import "testing"

func TestParseTrainers(t *testing.T) {
	for text, want := range map[string]crewSize{
		"1":   {start: 1, min: 1, max: 6, children: 1},
		"4":   {start: 4, min: 1, max: 6, children: 4},
		"6":   {start: 6, min: 1, max: 6, children: 6},
		"2:4": {start: 2, min: 2, max: 4, children: 4},
		"3:3": {start: 3, min: 3, max: 3, children: 3},
	} {
		c, err := parseTrainers(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := c.within(6); err != nil || got != want {
			t.Errorf("%s of 6 shards is %+v (%v), want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "0:2", "-1", "x", "2:", ":2", "3:2", "1:2:3", "1.5", "4294967296"} {
		if c, err := parseTrainers(text); err == nil || exitCode(err) != exitUsage {
			t.Errorf("%q is %+v (%v), want bad input", text, c, err)
		}
	}
	for _, text := range []string{"7", "2:7"} {
		c, err := parseTrainers(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.within(6); err == nil || exitCode(err) != exitUsage {
			t.Errorf("%s goes into 6 shards (%v)", text, err)
		}
	}
}
