package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSubject(t *testing.T) {
	for _, c := range []struct {
		app, channel, want string
		delivered          bool
	}{
		{"app-id", "lobby", "ch.app-id.lobby\n", true},
		{"app-id", "ticker:AAPL", "ch.app-id.ticker:AAPL\n", true},
		{"app-id", "#server-to-user-7", "ch.app-id.#server-to-user-7\n", true},
		{"a.b", "news.sports ü*>", "ch.a=2Eb.news=2Esports=20=C3=BC=2A=3E\n", false},
		{"app-id", strings.Repeat("c", 201), "ch.app-id." + strings.Repeat("c", 201) + "\n", false},
	} {
		status, out, said := execute(t, "", "subject", c.app, c.channel)
		if status != exitOK || out != c.want {
			t.Errorf("subject of %s on %s: status %d, %q, want %q", c.channel, c.app, status, out, c.want)
		}
		if (said == "") != c.delivered {
			t.Errorf("subject of %s on %s: said %q", c.channel, c.app, said)
		}
	}
	if _, out, _ := execute(t, "", "subject", "a", "b", "--nats-prefix", "prod."); out != "prod.ch.a.b\n" {
		t.Errorf("with a prefix: %q", out)
	}
}

func TestVersion(t *testing.T) {
	if status, out, _ := execute(t, "", "version"); status != exitOK || !strings.HasPrefix(out, "sluice ") || !strings.Contains(out, "\ngo1.") {
		t.Errorf("status %d, %q", status, out)
	}
	var b buildInfo
	if _, out, _ := execute(t, "", "version", "--json"); json.Unmarshal([]byte(out), &b) != nil || b.Go == "" || b.Version == "" {
		t.Errorf("got %s", out)
	}
}

func TestCommandLinesThatMakeNoSense(t *testing.T) {
	for _, c := range []struct {
		want string
		args []string
	}{
		{`unknown command "serf"`, []string{"serf"}},
		{"unknown flag: --nonsense", []string{"publish", "--nonsense"}},
		{"CHANNEL is missing", []string{"publish"}},
		{"both as an argument and with --file", []string{"publish", "a", "b", "--file", "c"}},
		{"--lines reads a file", []string{"publish", "a", "b", "--lines"}},
		{"cannot share an id", []string{"publish", "a", "--lines", "--message-id", "m"}},
		{"need --nats", []string{"publish", "a", "b", "--nats-creds", "c"}},
		{"must be true or false", []string{"publish", "a", "b", "--delta", "maybe"}},
		{"must begin with http", []string{"publish", "a", "b", "--url", "ftp://127.0.0.1:6001"}},
		{"--secret is empty", []string{"publish", "a", "b", "--secret", ""}},
		{"CHANNEL is missing", []string{"subscribe"}},
		{"must be 1 or 2", []string{"subscribe", "a", "--protocol", "7"}},
		{"need protocol 2", []string{"subscribe", "a", "--protocol", "1", "--latest"}},
		{"need protocol 2", []string{"subscribe", "a", "--protocol", "1", "--rewind", "5"}},
		{"exclude each other", []string{"subscribe", "a", "--rewind", "5", "--latest"}},
		{"must be a number of events", []string{"subscribe", "a", "--rewind", "0"}},
		{"must be a number of events", []string{"subscribe", "a", "--rewind", "-5s"}},
		{"must be a number of events", []string{"subscribe", "a", "--rewind", "soon"}},
		{"must be fossil or xdelta3", []string{"subscribe", "a", "--algorithm", "gzip"}},
		{"exclude each other", []string{"history", "a", "--oldest", "--newest"}},
		{"must not be negative", []string{"history", "a", "--limit", "-1"}},
		{"at least 50ms", []string{"demo", "--interval", "1ms"}},
		{"CHANNEL is empty", []string{"subject", "a", ""}},
	} {
		status, out, errors := execute(t, "", c.args...)
		if status != exitUsage || !strings.Contains(errors, c.want) || !strings.Contains(errors, "--help' for usage") || out != "" {
			t.Errorf("%v: status %d, %q, want a usage error with %q", c.args, status, errors, c.want)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	for _, args := range [][]string{
		{"publish", "a", "b"}, {"subscribe", "a"}, {"history", "a"}, {"demo", "--interval", "50ms"},
	} {
		status, _, errors := execute(t, "", append(args, "--url", "http://"+address)...)
		if status != exitFailure || !strings.Contains(errors, "Is `sluice serve` running?") {
			t.Errorf("%v: status %d, %q", args, status, errors)
		}
	}
	status, _, errors := execute(t, "", "publish", "a", "b", "--nats", "nats://"+address)
	if status != exitFailure || !strings.Contains(errors, "Is a NATS server there?") {
		t.Errorf("publish --nats: status %d, %q", status, errors)
	}
}

func TestPublishAndHistory(t *testing.T) {
	r := newRig(t)
	file := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(file, []byte("one\n\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := r.succeed("", "publish", "lobby", `{"hello":"world"}`, "--event", "greeting", "--to", "other"); out != "stored greeting on lobby, other (17 bytes)\n" {
		t.Errorf("publish said %q", out)
	}
	r.succeed("from stdin\n", "publish", "lobby")
	r.succeed("", "publish", "lobby", "--file", file, "--lines")
	r.succeed("", "publish", "lobby", "")
	r.succeed("", "publish", "lobby", "once", "--idempotency-key", "k")
	r.succeed("", "publish", "lobby", "once", "--idempotency-key", "k")
	if out := r.succeed("", "publish", "lobby", "quiet", "--quiet"); out != "" {
		t.Errorf("--quiet said %q", out)
	}
	raw := r.succeed("", "publish", "lobby", "raw ü", "--event", "odd\nname", "--tag", "a=b", "--delta", "false", "--conflation-key", "", "--nats", r.nats)
	if !strings.Contains(raw, "on ch.app-id.lobby (6 bytes) as ") {
		t.Errorf("publish --nats said %q", raw)
	}
	for n, want := range []string{"stored", "was stored before"} {
		if out := r.succeed("", "publish", "lobby", "raw once", "--idempotency-key", "n", "--nats", r.nats); !strings.Contains(out, want) {
			t.Errorf("raw publish %d said %q, want %q", n, out, want)
		}
	}
	wantData := []string{`{"hello":"world"}`, "from stdin", "one", "two", "", "once", "quiet", "raw ü", "raw once"}
	if diff := cmp.Diff(wantData, historyData(t, r.succeed("", "history", "lobby", "--oldest", "--limit", "0", "--json"))); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"raw once", "raw ü"}, historyData(t, r.succeed("", "history", "lobby", "-n", "2", "--json"))); diff != "" {
		t.Errorf("the newest two (-want +got):\n%s", diff)
	}
	table := r.succeed("", "history", "lobby", "--since", "1h")
	if !strings.Contains(table, "SERIAL") || !strings.Contains(table, "greeting") || strings.Count(table, "\n") != 1+len(wantData) {
		t.Errorf("table:\n%s", table)
	}
	if out := r.succeed("", "history", "empty"); out != "" {
		t.Errorf("history of nothing: %q", out)
	}
}

func historyData(t *testing.T, lines string) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(lines) {
		var item struct{ Message struct{ Data string } }
		if err := json.Unmarshal([]byte(line), &item); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		out = append(out, item.Message.Data)
	}
	return out
}

func TestHistoryFollowsPages(t *testing.T) {
	r := newRig(t)
	var lines strings.Builder
	for n := range 230 {
		fmt.Fprintf(&lines, "event %d\n", n)
	}
	r.succeed(lines.String(), "publish", "long", "--lines", "--quiet")
	got := historyData(t, r.succeed("", "history", "long", "--oldest", "--limit", "0", "--json"))
	if want := strings.Split(strings.TrimSuffix(lines.String(), "\n"), "\n"); !cmp.Equal(want, got) {
		t.Errorf("all of it (-want +got):\n%s", cmp.Diff(want, got))
	}
	if got := historyData(t, r.succeed("", "history", "long", "--limit", "150", "--json")); len(got) != 150 || got[0] != "event 229" || got[149] != "event 80" {
		t.Errorf("150 of them: %d, from %s", len(got), got[0])
	}
}

// TestTime07RangesOfHistory: an invalid range is refused with the name of the flag, and a time before the
// first event is valid.
func TestTime07RangesOfHistory(t *testing.T) {
	r := newRig(t)
	r.succeed("", "publish", "ranges", "x", "--quiet")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"a serial is 1 to 9007199254740991", []string{"--from", "9007199254740992"}},
		{"a serial is 1 to 9007199254740991", []string{"--to", "18446744073709551615"}},
		{"--from 9 is behind --to 2", []string{"--from", "9", "--to", "2"}},
		{"must not be negative", []string{"--since", "-1h"}},
		{"must not be negative", []string{"--limit", "-1"}},
	} {
		status, _, said := execute(t, "", append([]string{"history", "ranges", "--url", r.url}, c.args...)...)
		if status != exitUsage || !strings.Contains(said, c.want) {
			t.Errorf("%v: status %d, %q, want %q", c.args, status, said, c.want)
		}
	}
	for _, since := range []string{"1h", "500000h", "2540400h"} {
		if got := historyData(t, r.succeed("", "history", "ranges", "--since", since, "--json")); len(got) != 1 {
			t.Errorf("--since %s: %q", since, got)
		}
	}
}

func TestRefusals(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		name, want string
		args       []string
	}{
		{"a wrong secret", "Check --app, --key and --secret", []string{"publish", "a", "b", "--secret", "wrong"}},
		{"a wrong key", "Check --key", []string{"subscribe", "a", "--key", "wrong"}},
		{"a channel that is not allowed", "subscription to a b refused", []string{"subscribe", "a b"}},
		{"an app without a stream", "Check --app", []string{"publish", "a", "b", "--app", "nobody", "--nats", r.nats}},
		{"an event name that is reserved", "invalid_input", []string{"publish", "a", "b", "--event", "pusher:x"}},
		{"a file that is not there", "no such file", []string{"publish", "a", "--file", filepath.Join(t.TempDir(), "nothing")}},
	} {
		status, _, errors := execute(t, "", append(c.args, "--url", r.url)...)
		if status != exitFailure || !strings.Contains(errors, c.want) {
			t.Errorf("%s: status %d, %q, want %q", c.name, status, errors, c.want)
		}
	}
}

func TestSubscribePrintsWhatCame(t *testing.T) {
	r := newRig(t)
	c := start(t, nil, "subscribe", "lobby", "private-room", "--json", "--url", r.url)
	c.errors.await(t, "subscribed to lobby, private-room")
	data := func(n int) string {
		return fmt.Sprintf(`{"device":"d","n":%d,"text":"%s"}`, n, strings.Repeat("the same ", 60))
	}
	for n := range 3 {
		r.succeed("", "publish", "lobby", data(n), "--event", "reading")
	}
	r.succeed("", "publish", "private-room", "secret ü <>")
	// Channels do not wait for each other.
	c.out.await(t, "secret ü <>")
	c.out.await(t, `\"n\":2,`)
	c.interrupt()
	if status := c.wait(); status != exitOK {
		t.Errorf("status %d", status)
	}
	var got []eventLine
	for line := range strings.Lines(c.out.String()) {
		var e eventLine
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		got = append(got, e)
	}
	if len(got) != 4 {
		t.Fatalf("%d events:\n%s", len(got), c.out)
	}
	slices.SortStableFunc(got, func(a, b eventLine) int { return strings.Compare(a.Channel, b.Channel) })
	for n, form := range []string{"full", "delta", "delta"} {
		e := got[n]
		if e.Form != form || e.Data != data(n) || e.Event != "reading" || e.Channel != "lobby" || e.Key == nil || *e.Key != "d" || e.Number == nil ||
			(form == "delta") != (e.WireBytes < e.FullBytes) || (form == "delta") != (e.Base != nil) {
			t.Errorf("event %d: %+v", n, e)
		}
	}
	if e := got[3]; e.Form != "plain" || e.Channel != "private-room" || e.Event != "message" || e.Number != nil {
		t.Errorf("the last event: %+v", e)
	}
	if summary := c.errors.String(); !strings.Contains(summary, "4 events in ") || !strings.Contains(summary, ": 2 full, 2 as delta\n") || !strings.Contains(summary, " saved (") {
		t.Errorf("summary:\n%s", summary)
	}
}

func TestSubscribeLeavesAfterACount(t *testing.T) {
	r := newRig(t)
	c := start(t, nil, "subscribe", "lobby", "--count", "2", "--no-delta", "--protocol", "2", "--url", r.url)
	c.errors.await(t, "subscribed")
	r.succeed("a\x1b[31mb\nc\n", "publish", "lobby", "--lines")
	if status := c.wait(); status != exitOK {
		t.Errorf("status %d", status)
	}
	// Control sequences are not printed unescaped.
	if out := c.out.String(); !strings.Contains(out, "lobby message  a [31mb\n") || strings.Contains(out, "\x1b") || !strings.Contains(c.errors.String(), "2 events") {
		t.Errorf("%s%s", out, c.errors)
	}
}

func TestDemo(t *testing.T) {
	r := newRig(t)
	watcher := start(t, nil, "subscribe", "host-metrics", "--json", "--url", r.url)
	watcher.errors.await(t, "subscribed")
	status, out, errors := execute(t, "", "demo", "--interval", "50ms", "--count", "3", "--verbose", "--url", r.url)
	if status != exitOK || !strings.Contains(errors, "messages every 50ms to host-metrics") || !strings.Contains(errors, "published ") {
		t.Errorf("status %d\n%s", status, errors)
	}
	sent := strings.Count(out, "\n")
	forms := map[string]int{}
	watcher.out.await(t, `"sample\":3`)
	for strings.Count(watcher.out.String(), "\n") < sent {
		watcher.out.await(t, `"event":"processes"`)
	}
	watcher.interrupt()
	if status := watcher.wait(); status != exitOK {
		t.Errorf("the watcher left with %d", status)
	}
	for line := range strings.Lines(watcher.out.String()) {
		var e eventLine
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		var m struct{ Device string }
		if err := json.Unmarshal([]byte(e.Data), &m); err != nil || e.Key == nil || *e.Key != m.Device {
			t.Errorf("message %s: %v", line, err)
		}
		forms[e.Form]++
	}
	if forms["full"] == 0 || forms["delta"] == 0 || forms["full"]+forms["delta"] != sent {
		t.Errorf("%d messages came as %v", sent, forms)
	}
}

func TestServesWithoutASubcommand(t *testing.T) {
	if _, out, _ := execute(t, "", "--help"); !strings.Contains(out, "subscribe") || strings.Contains(out, "--nats-url") {
		t.Errorf("the help of the root:\n%s", out)
	}
	if _, out, _ := execute(t, "", "serve", "--help"); !strings.Contains(out, "--nats-url") {
		t.Errorf("the help of serve:\n%s", out)
	}
	c := start(t, nil, "--port", "0", "--metrics-port", "-1", "--nats-embedded-port", "-1", "--nats-embedded-store-dir", t.TempDir())
	c.errors.await(t, "sluice is serving")
	c.interrupt()
	if status := c.wait(); status != exitOK || regexp.MustCompile(`:6001\b`).MatchString(c.errors.String()) {
		t.Errorf("status %d\n%s", status, c.errors)
	}
}
