package configs

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestChannelHistoryIsReadAndShown(t *testing.T) {
	text := `apps: [{id: a, history_max_messages: 100, channel_history: {quiet: disabled, "ticker:*": {max_messages: 10, retention_seconds: 60}}}]`
	c, err := loadText(t, text)
	if err != nil {
		t.Fatal(err)
	}
	want := []ChannelHistory{{Pattern: "quiet"}, {Pattern: "ticker:*", Enabled: true, MaxMessages: 10, Retention: time.Minute}}
	if diff := cmp.Diff(want, c.Apps[0].Histories); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	shown, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"history_max_messages: 100", "history_retention_seconds: 86400", "retention_seconds: 60", "quiet:"} {
		if !strings.Contains(string(shown), line) {
			t.Errorf("%q is not in\n%s", line, shown)
		}
	}
	again, err := Load(Sources{File: write(t, "again.yaml", filledIn(shown))})
	if err != nil {
		t.Fatalf("what is shown cannot be loaded: %v", err)
	}
	if diff := cmp.Diff(want, again.Apps[0].Histories); diff != "" {
		t.Errorf("loaded again (-want +got):\n%s", diff)
	}
	other, err := loadText(t, strings.Replace(text, "60", "61", 1))
	if err != nil {
		t.Fatal(err)
	}
	reading, retention, rest := c.Changed(other)
	if len(reading) != 1 || reading[0] != "apps[0].channel_history" || len(retention)+len(rest) > 0 {
		t.Errorf("changed: %v %v %v", reading, retention, rest)
	}
}

func TestChannelHistoryIsChecked(t *testing.T) {
	for entry, want := range map[string]string{
		`{"a*b*": disabled}`:            "at most one *",
		`{x: enabled}`:                  "must be disabled or a structure",
		`{x: {max_messages: 1001}}`:     "must be a whole number from 1 to 1000",
		`{x: {max_messages: 101}}`:      "must not exceed the 100 that are kept",
		`{x: {retention_seconds: 601}}`: "must not exceed the 600 for which",
		`{x: {max_message: 1}}`:         "did you mean",
		`[]`:                            "must be a structure of channel patterns",
	} {
		_, err := loadText(t, "apps: [{id: a, history_max_messages: 100, history_retention_seconds: 600, channel_history: "+entry+"}]")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "apps[0].channel_history") {
			t.Errorf("%s: got %v, want %q", entry, err, want)
		}
	}
}
