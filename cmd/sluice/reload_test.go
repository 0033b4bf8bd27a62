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
)

// TestWeeks19WhatWaitsForARestartIsNeverForgotten reloads random configurations in a row:
// what waits is always the difference between the file and the start, what can be taken
// over always is, and a log that refuses is asked again.
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
		kept, refuse := "", false
		sum := func(c *configs.Config) (out string) {
			for i := range c.Apps {
				out += fmt.Sprint(c.Apps[i].ID, "=", c.Apps[i].MaxMessages, " ")
			}
			return out
		}
		kept = sum(start)
		b := &backend{}
		if rapid.Bool().Draw(t, "the log can change") {
			b.retain = func(_ context.Context, c *configs.Config) error {
				// The first app is changed even where the whole fails.
				if refuse {
					kept = strings.SplitAfterN(sum(c), " ", 2)[0] + strings.SplitAfterN(kept, " ", 2)[1]
					return errors.New("refused")
				}
				kept = sum(c)
				return nil
			}
		}
		r := &reloader{backend: b, apps: registryOf(start), log: slog.New(slog.DiscardHandler), inForce: start}
		for range rapid.IntRange(1, 8).Draw(t, "reloads") {
			port, keep, limit := rapid.IntRange(1, 2).Draw(t, "port"), rapid.IntRange(10, 11).Draw(t, "keep"), rapid.IntRange(1, 2).Draw(t, "limit")
			own, payload := rapid.SampledFrom([]int{0, 20}).Draw(t, "own"), rapid.IntRange(10, 11).Draw(t, "payload")
			apps := rapid.SampledFrom([]string{"ab", "ba", "a", "abc"}).Draw(t, "apps")
			refuse = rapid.Bool().Draw(t, "refuse")
			next := read(t, port, keep, limit, own, payload, apps)
			r.reload(t.Context(), next)
			waiting := r.pending()
			for key, want := range map[string]bool{"port": port != 1, "apps[0]": payload != 10, "apps": len(apps) != 2} {
				if slices.Contains(waiting, key) != want {
					t.Fatalf("%s waits: %v, want %v; all: %v", key, !want, want, waiting)
				}
			}
			for _, id := range []string{"a", "b"} {
				if strings.Contains(apps, id) && r.apps.ByID(id).Readings.Of("x").Messages != limit {
					t.Fatalf("the reading of %s is not in force", id)
				}
			}
			retained := kept == sum(r.inForce.WithRetention(next))
			told := slices.ContainsFunc(waiting, func(k string) bool { return strings.Contains(k, "history") })
			if !retained && !told {
				t.Fatalf("the log keeps %s, and nothing says that it is not what the file says; %v wait", kept, waiting)
			}
			if b.retain != nil && !refuse && (!retained || told) {
				t.Fatalf("the log keeps %s though it could have changed, and %v wait", kept, waiting)
			}
		}
	})
}
