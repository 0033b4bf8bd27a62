package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestHangupTakesOverRetention: SIGHUP applies new retention settings without an interruption. A file with an
// error changes nothing, and a setting that needs a restart is named.
func TestHangupTakesOverRetention(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	yaml := config(dir, "apps: [{id: app-id, key: app-key, secret: app-secret}]")
	s := serve(t, dir, yaml)
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	fill := func() {
		t.Helper()
		for i := range 20 {
			if err := publishSigned(client, s.HTTP, "room", "e", fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	hangup := func(text, says string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "sluice.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the server says "+says, func() bool { return strings.Contains(s.logs.String(), says) })
	}
	fill()
	if got := len(history(t, s, "room", "newest_first", "").Items); got != 20 {
		t.Fatalf("%d events are kept, want 20", got)
	}
	hangup(yaml+"history_max: 5\n", "nothing was changed")
	shorter := strings.Replace(yaml, "history: {enabled: true}", "history: {enabled: true, max_messages: 6}", 1)
	hangup(shorter+"activity_timeout: 60\n", "is in force")
	if !strings.Contains(s.logs.String(), "activity_timeout") {
		t.Errorf("nobody was told that activity_timeout needs a restart:\n%s", s.logs)
	}
	fill()
	if got := len(history(t, s, "room", "newest_first", "").Items); got != 6 {
		t.Errorf("%d events are kept, want 6", got)
	}
	hangup(strings.Replace(shorter, "[{id:", `[{channel_history: {"ro*": {max_messages: 2}}, id:`, 1), "channel_history")
	if got := len(history(t, s, "room", "oldest_first", "").Items); got != 2 {
		t.Errorf("%d events can be read, want 2", got)
	}
}

// TestWeeks19ASecondHangupRemembersWhatWaits: a setting that waits for a restart is logged at each SIGHUP and
// listed in /ready, until the file has the old value again.
func TestWeeks19ASecondHangupRemembersWhatWaits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	yaml := config(dir, "config: {watch: false}", "apps: [{id: app-id, key: app-key, secret: app-secret}]")
	s := serve(t, dir, yaml)
	hangups := 0
	hangup := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "sluice.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		hangups++
		eventually(t, "the configuration was read again", func() bool {
			return strings.Count(s.logs.String(), "the configuration was read again") == hangups
		})
	}
	ready := func() string {
		t.Helper()
		resp, err := http.Get("http://" + s.HTTP + "/ready")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%d, %v", resp.StatusCode, err)
		}
		return string(text)
	}
	waits := yaml + "activity_timeout: 60\n"
	kept := strings.Replace(waits, "history: {enabled: true}", "history: {enabled: true, max_messages: 6}", 1)
	for n, text := range []string{waits, kept, kept, kept + "port_: 1\n", kept} {
		hangup(text)
		if got := ready(); !strings.Contains(got, `"restart_pending":["activity_timeout"]`) {
			t.Errorf("after SIGHUP %d /ready says %s", n+1, got)
		}
	}
	if got := strings.Count(s.logs.String(), "settings have changed that need a restart"); got != hangups-1 {
		t.Errorf("%d times it was told that a restart is needed, want %d\n%s", got, hangups-1, s.logs)
	}
	hangup(strings.Replace(kept, "activity_timeout: 60\n", "", 1))
	if got := ready(); strings.Contains(got, "restart_pending") || !strings.Contains(s.logs.String(), "no setting needs a restart any more") {
		t.Errorf("after it was taken back /ready says %s\n%s", got, s.logs)
	}
}
