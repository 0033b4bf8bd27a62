package main

import (
	"strings"
	"testing"
)

// TestTime01PurgeAndResetAtTheCommandLine: purge and reset ask for confirmation, and report what was done.
func TestTime01PurgeAndResetAtTheCommandLine(t *testing.T) {
	t.Run("embedded", func(t *testing.T) { purgeAndReset(t, newRig(t)) })
	t.Run("redis", func(t *testing.T) { purgeAndReset(t, newRedisRig(t)) })
}

func purgeAndReset(t *testing.T, r *rig) {
	for range 5 {
		r.succeed("", "publish", "lobby", "1")
	}
	for name, typed := range map[string]string{"nothing": "", "another name": "lobb\n", "yes": "yes\n"} {
		for _, command := range []string{"purge", "reset"} {
			status, out, errors := execute(t, typed, command, "lobby", "--url", r.url)
			if status != exitFailure || out != "" || !strings.Contains(errors, "nothing was removed") {
				t.Errorf("%s, %s: %d %q %q", command, name, status, out, errors)
			}
		}
	}
	if out := r.succeed("", "history", "lobby", "--json"); strings.Count(out, "\n") != 5 {
		t.Fatalf("the history is\n%s", out)
	}
	if out := r.succeed("", "purge", "lobby", "--yes", "--before", "-1h"); out != "0 events of lobby removed\n" {
		t.Errorf("got %q", out)
	}
	if out := r.succeed("lobby\n", "purge", "lobby", "--before", "now", "--reason", "a test"); !strings.HasSuffix(out, "of lobby removed\n") {
		t.Errorf("got %q", out)
	}
	r.succeed("", "purge", "lobby", "--yes")
	r.succeed("", "publish", "lobby", "1")
	if out := r.succeed("lobby\n", "reset", "lobby"); !strings.HasPrefix(out, "1 event of lobby removed\nthe stream of lobby is ") {
		t.Errorf("got %q", out)
	}
	if status, _, errors := execute(t, "", "purge", "lobby", "--before", "yesterday", "--url", r.url); status != exitUsage || !strings.Contains(errors, "--before") {
		t.Errorf("a moment that is none: %d %q", status, errors)
	}
}
