package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/app"
)

// TestWeeks19WhatWaitsForARestartIsNeverForgotten reloads random configurations in a row: what waits for a
// restart is always the difference between the file and what is in force, what can be adopted always is, and
// a log that refuses is tried again.
func TestWeeks19WhatWaitsForARestartIsNeverForgotten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	read := func(t *rapid.T, port, keep, limit, own int, payload int, apps string) *configs.Config {
		text := fmt.Sprintf("mode: development\nport: %d\nhistory: {max_messages: %d}\napps:\n", port, keep)
		for _, id := range strings.Split(apps, "") {
			text += fmt.Sprintf("  - {id: %s, max_event_payload_in_kb: %d, history_max_messages: %d, channel_history: {x: {max_messages: %d}}}\n", id, payload, own, limit)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := configs.Load(configs.Sources{File: file})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	rapid.Check(t, func(t *rapid.T) {
		start := read(t, 1, 10, 1, 0, 10, "ab")
		// kept is the retention of each app in the log.
		kept, refuse := map[string]int64{}, false
		for i := range start.Apps {
			kept[start.Apps[i].ID] = start.Apps[i].MaxMessages
		}
		b := &backend{serveApps: func(_ context.Context, c *configs.Config) error {
			before := kept
			kept = map[string]int64{}
			for i := range c.Apps {
				a := &c.Apps[i]
				kept[a.ID] = a.MaxMessages
				if n, was := before[a.ID]; was {
					kept[a.ID] = n
				}
			}
			return nil
		}}
		if rapid.Bool().Draw(t, "the log can change") {
			b.retain = func(_ context.Context, c *configs.Config) error {
				for i := range c.Apps {
					// The first app is changed even if the whole fails.
					if kept[c.Apps[i].ID] = c.Apps[i].MaxMessages; refuse {
						return errors.New("refused")
					}
				}
				return nil
			}
		}
		r := &reloader{backend: b, apps: app.NewRegistry(appsOf(start)...), log: slog.New(slog.DiscardHandler), inForce: start}
		for range rapid.IntRange(1, 8).Draw(t, "reloads") {
			port, keep, limit := rapid.IntRange(1, 2).Draw(t, "port"), rapid.IntRange(10, 11).Draw(t, "keep"), rapid.IntRange(1, 2).Draw(t, "limit")
			own, payload := rapid.SampledFrom([]int{0, 20}).Draw(t, "own"), rapid.IntRange(10, 11).Draw(t, "payload")
			apps := rapid.SampledFrom([]string{"ab", "ba", "a", "abc"}).Draw(t, "apps")
			refuse = rapid.Bool().Draw(t, "refuse")
			next := read(t, port, keep, limit, own, payload, apps)
			if err := r.reload(t.Context(), next, true); err != nil {
				t.Fatal(err)
			}
			waiting := r.pending()
			if got := slices.Contains(waiting, "port"); got != (port != 1) {
				t.Fatalf("the port waits: %v; all: %v", got, waiting)
			}
			for _, id := range []string{"a", "b", "c"} {
				a := r.apps.ByID(id)
				if (a != nil) != strings.Contains(apps, id) {
					t.Fatalf("the app %s is there: %v", id, a != nil)
				}
				if a != nil && (a.Readings.Of("x").Messages != limit || a.Limits.MaxEventPayload != payload<<10) {
					t.Fatalf("the settings of %s are not in force", id)
				}
			}
			for i := range r.inForce.Apps {
				a := &r.inForce.Apps[i]
				if got := r.apps.ByID(a.ID).RetainedMessages; int64(got) != a.MaxMessages {
					t.Fatalf("%s is counted as if %d messages were kept of it, where these are %d", a.ID, got, a.MaxMessages)
				}
				if !refuse && int64(r.apps.ByID(a.ID).RetainedMessages) != kept[a.ID] {
					t.Fatalf("%s is counted as if %d messages were kept of it, and %d are", a.ID, r.apps.ByID(a.ID).RetainedMessages, kept[a.ID])
				}
			}
			retained := true
			for i := range next.Apps {
				retained = retained && kept[next.Apps[i].ID] == next.Apps[i].MaxMessages
			}
			told := slices.ContainsFunc(waiting, func(k string) bool { return strings.Contains(k, "history") })
			if !retained && !told {
				t.Fatalf("the log keeps %v, and nothing says that it is not what the file says; %v wait", kept, waiting)
			}
			if b.retain != nil && !refuse && (!retained || told) {
				t.Fatalf("the log keeps %v though it could have changed, and %v wait", kept, waiting)
			}
		}
	})
}
