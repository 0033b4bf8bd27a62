package configs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTime02SnapshotSettings(t *testing.T) {
	load := func(value string) (*Config, error) {
		return loadText(t, `apps: [{"id": "a", "channel_snapshot": `+value+`}]`)
	}
	c, err := load(`{"ticker-*": true, "b": {"max_values": 7}, "a": {"enabled": false}, "c": false}`)
	if err != nil {
		t.Fatal(err)
	}
	want := []ChannelSnapshot{
		{Pattern: "a"}, {Pattern: "b", Enabled: true, MaxValues: 7}, {Pattern: "c"}, {Pattern: "ticker-*", Enabled: true},
	}
	if diff := cmp.Diff(want, c.Apps[0].Snapshots); diff != "" {
		t.Errorf("snapshots (-want +got):\n%s", diff)
	}
	shown, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Load(Sources{File: write(t, "again.yaml", filledIn(shown))})
	if err != nil {
		t.Fatalf("what is shown cannot be loaded: %v", err)
	}
	if diff := cmp.Diff(want, again.Apps[0].Snapshots); diff != "" {
		t.Errorf("loaded again (-want +got):\n%s", diff)
	}
	for value, names := range map[string]string{
		`[]`: "channel_snapshot", `{"a": 7}`: `["a"]`, `{"a": "yes"}`: `["a"]`, `{"*b*": true}`: "at most one", `{"a": {"max_values": 0}}`: "max_values",
		`{"a": {"max_values": 100001}}`: "100000", `{"a": {"values": 1}}`: "values",
	} {
		if _, err := load(value); err == nil || !strings.Contains(err.Error(), names) {
			t.Errorf("%s: got error %v, want one with %s", value, err, names)
		}
	}
}
