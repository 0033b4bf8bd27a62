package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// reports parses the output of publish --json.
func reports(t *testing.T, text string) (out []report) {
	t.Helper()
	for line := range strings.Lines(text) {
		var r report
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		out = append(out, r)
	}
	return out
}

// TestRun07PublishSaysWhere: the positions that publish prints are those of the history, and a duplicate is
// reported, over HTTP and directly to the log.
func TestRun07PublishSaysWhere(t *testing.T) {
	for name, r := range map[string]*rig{"nats": newRig(t), "redis": newRedisRig(t)} {
		t.Run(name, func(t *testing.T) {
			got := reports(t, r.succeed("a\n\nb\n", "publish", "lobby", "--lines", "--json", "--to", "other"))
			if len(got) != 2 || len(got[0].Channels) != 2 || got[1].Channels[0].Serial <= got[0].Channels[0].Serial || got[0].Channels[1].Channel != "other" || got[0].Bytes != 1 {
				t.Fatalf("got %+v", got)
			}
			var item struct {
				Serial   uint64
				StreamID string `json:"stream_id"`
			}
			if err := json.Unmarshal([]byte(r.succeed("", "history", "lobby", "-n", "1", "--json")), &item); err != nil || item.Serial != got[1].Channels[0].Serial || item.StreamID != got[1].Channels[0].StreamID {
				t.Errorf("history has %+v, publish said %+v", item, got[1])
			}
			first := reports(t, r.succeed("", "publish", "lobby", "once", "--idempotency-key", "k", "--json"))[0].Channels[0]
			again := reports(t, r.succeed("", "publish", "lobby", "once", "--idempotency-key", "k", "--json"))[0].Channels[0]
			if first.Duplicate || !again.Duplicate || again.Serial != first.Serial {
				t.Errorf("first %+v, again %+v", first, again)
			}
			want := "stored message on new (4 bytes)\nmessage was stored before on lobby; nothing is stored again\n"
			if out := r.succeed("", "publish", "lobby", "once", "--to", "new", "--idempotency-key", "k"); out != want {
				t.Errorf("said %q", out)
			}
			if r.nats == "" {
				return
			}
			raw := reports(t, r.succeed("", "publish", "lobby", "raw", "--json", "--nats", r.nats))[0].Channels[0]
			if raw.Serial == 0 || raw.Subject != "ch.app-id.lobby" || raw.Stream == "" || raw.Channel != "lobby" || raw.Duplicate {
				t.Errorf("raw: %+v", raw)
			}
			if status, _, _ := execute(t, "", "publish", "a", "b", "--json", "--quiet"); status != exitUsage {
				t.Errorf("--json --quiet: status %d", status)
			}
		})
	}
}

// TestRun07NothingWaitsInSilence: at a terminal the command says what it waits for, and elsewhere it does
// not.
func TestRun07NothingWaitsInSilence(t *testing.T) {
	r := newRig(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, args := range [][]string{{"publish", "lobby"}, {"publish", "lobby", "--file", "-"}, {"publish", "lobby", "--lines"}, {"import", "-"}, {"import", "-", "--check"}} {
		screen, tty := terminal(t)
		c := start(t, tty, append(args, "--url", r.url)...)
		c.errors.await(t, "reading standard input: ")
		fmt.Fprint(screen, "\x04") // Ctrl-D
		c.wait()
		_ = tty.Close()
		for _, in := range []io.Reader{null, strings.NewReader("")} {
			c := start(t, in, append(args, "--url", r.url)...)
			c.wait()
			if strings.Contains(c.errors.String(), "reading standard input") {
				t.Errorf("%q says what nobody asked: %s", args, c.errors)
			}
		}
	}
	_, tty := terminal(t)
	defer tty.Close()
	if c := start(t, tty, "publish", "lobby", "x", "--url", r.url); c.wait() != exitOK || strings.Contains(c.errors.String(), "reading") {
		t.Errorf("with data: %s", c.errors)
	}
}
