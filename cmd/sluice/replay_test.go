package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/client"
)

// onEachLog runs a test on JetStream and on Redis.
func onEachLog(t *testing.T, test func(*testing.T, *rig)) {
	t.Helper()
	t.Run("jetstream", func(t *testing.T) { test(t, newRig(t)) })
	t.Run("redis", func(t *testing.T) { test(t, newRedisRig(t)) })
}

// store publishes events directly to the log.
func (r *rig) store(channel string, events ...*broker.Event) {
	r.t.Helper()
	for len(events) > 0 {
		n := min(len(events), 500)
		batch := make([]broker.Outgoing, n)
		for i := range batch {
			batch[i] = broker.Outgoing{Channel: channel, Event: events[i]}
		}
		if _, err := r.log.Publish(r.t.Context(), "app-id", batch...); err != nil {
			r.t.Fatal(err)
		}
		events = events[n:]
	}
}

// numbered returns n events with their numbers as data.
func numbered(n int) []*broker.Event {
	out := make([]*broker.Event, n)
	for i := range out {
		out[i] = &broker.Event{Name: "tick", Data: fmt.Appendf(nil, `{"n":%d}`, i), Origin: broker.OriginHTTP}
	}
	return out
}

// odd returns events with everything that an event may have.
func odd() []*broker.Event {
	return []*broker.Event{
		{Name: "plain", Data: []byte("no JSON, ü and \u2028 and \x00"), Origin: broker.OriginHTTP},
		{Name: "empty", Data: []byte(""), Origin: broker.OriginHTTP},
		{Name: "tagged", Data: []byte(`{"a":"<b>&"}`), Tags: map[string]string{"b": "2", "a": "1", "": "x"}, Origin: broker.OriginHTTP},
		{Name: "keyed", Data: []byte("{}"), ConflationKey: "k", HasKey: true, Delta: broker.DeltaNever, Origin: broker.OriginHTTP},
		{Name: "empty key", Data: []byte("{}"), HasKey: true, Delta: broker.DeltaAlways, Origin: broker.OriginHTTP},
		{Name: "named", Data: []byte("[1]"), MessageID: "mine", Extras: []byte(`{"headers":{"h":1},"ref":{"deep":[1,2]}}`), Origin: broker.OriginHTTP},
		{Name: "client-typing", Data: []byte(`"x"`), UserID: "u1", ExcludeSocket: "1.2", Origin: broker.OriginClient},
		{Name: "large", Data: []byte(strings.Repeat(`"\`, 5000)), Origin: broker.OriginHTTP},
	}
}

// items parses lines of events as `--json` prints them.
func items(t testing.TB, lines string) (out []client.HistoryItem) {
	t.Helper()
	for line := range strings.Lines(lines) {
		var i client.HistoryItem
		if err := json.Unmarshal([]byte(line), &i); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out = append(out, i)
	}
	return out
}

func (r *rig) history(channel string) []client.HistoryItem {
	r.t.Helper()
	return items(r.t, r.succeed("", "history", channel, "--oldest", "--limit", "0", "--json"))
}

// rawPublish publishes directly on NATS, as other publishers may.
func (r *rig) rawPublish(channel, data string) {
	r.t.Helper()
	if _, err := jetStreamAt(r.t, r.nats).PublishMsg(r.t.Context(), &nats.Msg{Subject: "ch.app-id." + channel, Data: []byte(data)}); err != nil {
		r.t.Fatal(err)
	}
}

func TestTime03ReplayPrintsThePast(t *testing.T) {
	onEachLog(t, func(t *testing.T, r *rig) {
		r.store("c", odd()...)
		r.store("other", numbered(3)...)
		r.store("c", numbered(700)...)
		want := r.history("c")
		for _, args := range [][]string{{"--speed", "max"}, {"--speed", "1000000"}, {"--speed", "max", "--from", "-1h", "--to", "now"}} {
			got := items(t, r.succeed("", append([]string{"replay", "c", "--json"}, args...)...))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%v (-history +replay):\n%.1500s", args, diff)
			}
		}
		from, to := want[5].Serial, want[600].Serial
		got := items(t, r.succeed("", "replay", "c", "--json", "--speed", "max", "--from", fmt.Sprint(from), "--to", fmt.Sprint(to)))
		if diff := cmp.Diff(want[5:601], got); diff != "" {
			t.Errorf("a part (-history +replay):\n%.1500s", diff)
		}
		table := r.succeed("", "replay", "c", "--speed", "max")
		if lines := strings.Count(table, "\n"); lines != len(want)+1 || !strings.HasPrefix(table, "    SERIAL  TIME") {
			t.Errorf("%d lines:\n%.500s", lines, table)
		}
	})
}

// kept holds the parts of an event that must survive a replay.
type kept struct {
	Name, Data, Key string
	Tags            string
	Keyed           bool
	Delta           string
}

func keptOf(i client.HistoryItem) kept {
	k := kept{Name: i.EventName, Data: i.Data(), Tags: gjson.Get(string(i.Message), "tags").Raw, Keyed: i.ConflationKey != nil}
	if k.Keyed {
		k.Key = *i.ConflationKey
	}
	if i.Delta != nil {
		k.Delta = fmt.Sprint(*i.Delta)
	}
	return k
}

func TestTime03ReplayIntoAChannel(t *testing.T) {
	onEachLog(t, func(t *testing.T, r *rig) {
		events := odd()
		events[2].Tags = map[string]string{"b": "2", "a": "1"} // a tag with an empty name is possible only for a raw publisher
		r.store("c", events...)
		r.store("c", numbered(35)...)
		source := r.history("c")
		replay := func(args ...string) string {
			t.Helper()
			status, out, said := execute(t, "", append([]string{"replay", "c", "--to-channel", "copy", "--speed", "max", "--url", r.url}, args...)...)
			if status != exitOK || out != "" {
				t.Fatalf("status %d, %s%s", status, out, said)
			}
			return said
		}
		if said := replay(); !strings.Contains(said, "43 events of c replayed into copy\n") {
			t.Errorf("said %q", said)
		}
		target := r.history("copy")
		if len(target) != len(source) {
			t.Fatalf("%d events, want %d", len(target), len(source))
		}
		ids := map[string]bool{}
		for n, i := range source {
			if diff := cmp.Diff(keptOf(i), keptOf(target[n])); diff != "" {
				t.Errorf("event %d (-source +replay):\n%s", n, diff)
			}
			m := gjson.Parse(string(target[n].Message))
			mark := m.Get("extras.replay")
			if mark.Get("channel").String() != "c" || mark.Get("serial").Uint() != i.Serial || mark.Get("stream_id").String() != i.StreamID ||
				mark.Get("published_at_ms").Int() != i.PublishedAtMS {
				t.Errorf("event %d has the mark %s", n, mark.Raw)
			}
			if was := gjson.Get(string(i.Message), "user_id").String(); mark.Get("user_id").String() != was || m.Get("user_id").Exists() {
				t.Errorf("event %d of the user %q: %s", n, was, m.Raw)
			}
			if was := gjson.Get(string(i.Message), "extras.ref").Raw; m.Get("extras.ref").Raw != was {
				t.Errorf("event %d has other extras than %s: %s", n, was, m.Raw)
			}
			ids[target[n].MessageID] = true
		}
		if len(ids) != len(source) || ids["mine"] {
			t.Errorf("the ids are %v", ids)
		}
		// The replay again, a part of it, and then more events.
		if said := replay(); !strings.Contains(said, "43 of them were there already") {
			t.Errorf("said %q", said)
		}
		if said := replay("--from", fmt.Sprint(source[40].Serial)); !strings.Contains(said, "3 events of c replayed into copy, 3 of them were there already") {
			t.Errorf("said %q", said)
		}
		r.store("c", numbered(2)...)
		replay()
		if got := r.history("copy"); len(got) != 45 {
			t.Errorf("%d events after repetitions, want 45", len(got))
		}
		// Another target has ids of its own.
		r.succeed("", "replay", "c", "--to-channel", "third", "--speed", "max")
		if third := r.history("third"); len(third) != 45 || ids[third[0].MessageID] {
			t.Errorf("%d events in the third channel, the first one is %s", len(third), third[0].MessageID)
		}
	})
}

// TestTime03AConflationValueOverHTTP: any publisher may set the conflation key that a replay carries.
func TestTime03AConflationValueOverHTTP(t *testing.T) {
	onEachLog(t, func(t *testing.T, r *rig) {
		r.succeed("", "publish", "c", "x", "--conflation-key", "k 1")
		r.succeed("", "publish", "c", "x", "--conflation-key", "")
		r.succeed("", "publish", "c", "x")
		all := r.history("c")
		if k := all[0].ConflationKey; k == nil || *k != "k 1" {
			t.Errorf("got %v", k)
		}
		if k := all[1].ConflationKey; k == nil || *k != "" || all[2].ConflationKey != nil {
			t.Errorf("got %v and %v", k, all[2].ConflationKey)
		}
	})
}

func TestTime03ReplayLeavesOutWhatCannotBeDelivered(t *testing.T) {
	r := newRig(t)
	r.succeed("", "publish", "c", "good")
	r.rawPublish("c", "bad\xff")
	r.succeed("", "publish", "c", "also good")
	if out := r.succeed("", "replay", "c", "--speed", "max"); !strings.Contains(out, "(not delivered: ") {
		t.Errorf("printed %s", out)
	}
	_, _, said := execute(t, "", "replay", "c", "--speed", "max", "--to-channel", "copy", "--url", r.url)
	if !strings.Contains(said, "1 cannot be delivered and were left out") || len(r.history("copy")) != 2 {
		t.Errorf("said %s", said)
	}
}

// TestTime03CtrlCSaysWhereToGoOn: the printed command replays the rest. Together with the output before it,
// every event comes once.
func TestTime03CtrlCSaysWhereToGoOn(t *testing.T) {
	for _, into := range []bool{false, true} {
		t.Run(fmt.Sprintf("into a channel %t", into), func(t *testing.T) {
			// An hour passes by the clock of the log: the second half is not due before the test has looked.
			var ahead atomic.Int64
			log, err := memory.New(memory.Options{Apps: []string{"app-id"}, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = log.Close() })
			r := gatewayReading(t, log, "", nil)
			r.store("c", numbered(20)...)
			ahead.Store(int64(time.Hour))
			r.store("c", numbered(20)...)
			args := []string{"replay", "c", "--speed", "0.01", "--secret", "app-secret", "--url", r.url}
			if into {
				args = append(args, "--to-channel", "copy")
			} else {
				args = append(args, "--json")
			}
			c := start(t, strings.NewReader(""), args...)
			if into {
				r.awaitHistory("copy", 1)
			} else {
				c.out.await(t, `{\"n\":0}`)
			}
			c.interrupt()
			if status := c.wait(); status != exitFailure {
				t.Fatalf("status %d: %s", status, c.errors)
			}
			said := c.errors.String()
			found := regexp.MustCompile(`(?m)^sluice: stopped after \d+ events?\n  Go on with: sluice (replay c .*)$`).FindStringSubmatch(said)
			if found == nil || strings.Contains(said, "app-secret") {
				t.Fatalf("said %s", said)
			}
			again := strings.Fields(found[1])
			for i, word := range again {
				switch word {
				case "SECRET":
					again[i] = "app-secret"
				case "0.01":
					again[i] = "max"
				}
			}
			status, out, said := execute(t, "", again...)
			if status != exitOK {
				t.Fatalf("%v: %s", again, said)
			}
			want := r.history("c")
			if into {
				if strings.Contains(said, "were there already") {
					t.Errorf("it goes on too soon: %s", said)
				}
				var data []string
				for _, i := range r.history("copy") {
					data = append(data, i.Data())
				}
				if len(data) != len(want) || data[0] != want[0].Data() || data[39] != want[39].Data() {
					t.Errorf("the channel has %v", data)
				}
				return
			}
			if diff := cmp.Diff(want, items(t, c.out.String()+out)); diff != "" {
				t.Errorf("both parts (-history +replays):\n%.1500s", diff)
			}
		})
	}
}

// awaitHistory waits until a channel has so many events.
func (r *rig) awaitHistory(channel string, n uint64) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	for {
		now, err := r.log.Retained(ctx, "app-id", channel)
		if err != nil {
			r.t.Fatalf("waiting for %d events of %s: %v", n, channel, err)
		}
		if now.Messages >= n {
			return
		}
	}
}

func TestTime03ReplaysThatMakeNoSense(t *testing.T) {
	r := newRig(t)
	r.store("c", numbered(3)...)
	newest := r.history("c")[2].Serial
	for _, c := range []struct {
		want   string
		status int
		args   []string
	}{
		{"--speed is \"0\", must be a number from 0.01 to 1000000, or max", exitUsage, []string{"c", "--speed", "0"}},
		{"--speed", exitUsage, []string{"c", "--speed", "-1"}},
		{"--speed", exitUsage, []string{"c", "--speed", "NaN"}},
		{"--speed", exitUsage, []string{"c", "--speed", "fast"}},
		{"--from is 0, a serial is 1 to 9007199254740991", exitUsage, []string{"c", "--from", "0"}},
		{"--from is \"1h\"", exitUsage, []string{"c", "--from", "1h"}},
		{"--from 3 is behind --to 2", exitUsage, []string{"c", "--from", "3", "--to", "2"}},
		{"which has not come yet", exitUsage, []string{"c", "--from", "2999-01-01"}},
		{"--to-channel is the channel itself", exitUsage, []string{"c", "--to-channel", "c"}},
		{"--to-channel is empty", exitUsage, []string{"c", "--to-channel", ""}},
		{"encrypted for that channel alone", exitUsage, []string{"c", "--to-channel", "private-encrypted-c"}},
		{"--json and --full print", exitUsage, []string{"c", "--to-channel", "d", "--json"}},
		{"CHANNEL is missing", exitUsage, []string{}},
		{"there are no events of channel nobody in the log\n  Check the name", exitFailure, []string{"nobody"}},
		{"there are no events from serial " + fmt.Sprint(newest+1) + ": what can be read has the serials", exitFailure, []string{"c", "--from", fmt.Sprint(newest + 1)}},
		{"there are no events from " + clockOf(time.Date(2001, 1, 1, 0, 0, 0, 0, time.Local)) + " up to " + clockOf(time.Date(2001, 1, 2, 0, 0, 0, 0, time.Local)) + ":", exitFailure, []string{"c", "--from", "2001-01-01", "--to", "2001-01-02"}},
		{"channel name", exitFailure, []string{"no channel"}},
		{"channel name", exitFailure, []string{"c", "--to-channel", "no channel", "--speed", "max"}},
	} {
		status, out, said := execute(t, "", append(append([]string{"replay"}, c.args...), "--url", r.url)...)
		if status != c.status || !strings.Contains(said, c.want) || out != "" {
			t.Errorf("%v: status %d, %q, want %d and %q", c.args, status, said, c.status, c.want)
		}
	}
	_, _, said := execute(t, "", "replay", "c", "--from", "2001-01-01", "--speed", "max", "--url", r.url)
	if !strings.Contains(said, "the log has nothing older") {
		t.Errorf("said %q", said)
	}
}

// TestTime03AReplayOnATerminal: a replay shows its progress, and prints no control sequences of events.
func TestTime03AReplayOnATerminal(t *testing.T) {
	r := newRig(t)
	r.rawPublish("c", "a\x1b[31mb\x1b]0;title\x07c\u202ed")
	r.store("c", numbered(3)...)
	seen, tty := terminal(t)
	text := make(chan string)
	go func() {
		all, _ := io.ReadAll(seen)
		text <- string(all)
	}()
	status := run(t.Context(), newRoot(), []string{"replay", "c", "--speed", "0.5", "--full", "--url", r.url}, strings.NewReader(""), tty, tty)
	_ = tty.Close()
	got := <-text
	if status != exitOK || !strings.Contains(got, "] 100 %  ") && !strings.Contains(got, "\x1b[K[") || !strings.Contains(got, `a\u001b[31mb\u001b]0;title\u0007c\u202ed`) {
		t.Errorf("status %d: %q", status, got)
	}
	if rest := strings.ReplaceAll(got, "\r\x1b[K", ""); strings.ContainsAny(rest, "\x1b\x07\u202e") {
		t.Errorf("something was obeyed: %q", got)
	}
	// Without a terminal there is no bar.
	if _, out, said := execute(t, "", "replay", "c", "--speed", "max", "--url", r.url); strings.Contains(out+said, "[=") || strings.Contains(said, "\x1b") {
		t.Errorf("said %q", said)
	}
}

// TestTime03AReplayOutlivesOutages: the server is unavailable again and again, also within requests, and the
// channel gets each event once and in order.
func TestTime03AReplayOutlivesOutages(t *testing.T) {
	t.Parallel()
	onEachLog(t, func(t *testing.T, r *rig) {
		r.store("c", numbered(150)...)
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		var mu sync.Mutex
		g := newTurnstile(t, r.url)
		g.before = func() bool {
			mu.Lock()
			defer mu.Unlock()
			return random.IntN(6) > 0
		}
		g.after = g.before
		c := start(t, strings.NewReader(""), "replay", "c", "--to-channel", "copy", "--speed", "max", "--url", g.URL)
		status := c.wait()
		for try := 0; status != exitOK && try < 20; try++ {
			// A command that cannot begin fails at once; it is started again, as an operator would.
			c = start(t, strings.NewReader(""), "replay", "c", "--to-channel", "copy", "--speed", "max", "--url", g.URL)
			status = c.wait()
		}
		if status != exitOK {
			t.Fatalf("status %d: %s", status, c.errors)
		}
		all := r.history("copy")
		if len(all) != 150 {
			t.Fatalf("%d events, want 150", len(all))
		}
		for n, i := range all {
			if want := fmt.Sprintf(`{"n":%d}`, n); i.Data() != want {
				t.Fatalf("event %d is %s", n, i.Data())
			}
		}
	})
}

// TestTime03WhatIsMissingIsNoSuccess: events that were removed while the history was read are reported, and
// the exit status is an error, whatever was done with the other events.
func TestTime03WhatIsMissingIsNoSuccess(t *testing.T) {
	t.Parallel()
	onEachLog(t, func(t *testing.T, r *rig) {
		for n, args := range [][]string{
			{"replay", "--speed", "max"}, {"replay", "--speed", "max", "--json"}, {"replay", "--speed", "max", "--to-channel", "copy"}, {"export"},
		} {
			for _, purged := range []bool{false, true} {
				channel := fmt.Sprintf("c%d%t", n, purged)
				r.store(channel, numbered(500)...)
				newest := r.held(channel).Newest
				pages := 0
				proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					if strings.HasSuffix(q.URL.Path, "/channels/"+channel+"/history") {
						// Two requests look for the ends, and one gets the first events.
						if pages++; pages == 4 && purged {
							if status, _, said := execute(t, "", "purge", channel, "--before", fmt.Sprint(newest), "--yes", "--url", r.url); status != exitOK {
								t.Errorf("status %d: %s", status, said)
							}
						}
					}
					forward(w, q, r.url)
				}))
				status, _, said := execute(t, "", append(append([]string{args[0], channel}, args[1:]...), "--url", proxy.URL)...)
				proxy.Close()
				if want := strings.Contains(said, "may be missing: they were removed before they could be read") && strings.Contains(said, "missing\n"); want != purged || (status == exitFailure) != purged {
					t.Errorf("%v, purged %t: status %d: %s", args, purged, status, said)
				}
			}
		}
	})
}

// TestTime03ACopyKeepsTheBytesOfExtras: extras keep their order and spelling, up to the largest size that a
// server accepts. The replay mark is added, and replaces an older one.
func TestTime03ACopyKeepsTheBytesOfExtras(t *testing.T) {
	filled := func(text string) string {
		return `{"headers":{"h":"` + strings.Repeat(text, (16384-20)/len(text)) + `"}}`
	}
	all := []string{
		"", `{}`, `{"headers":{"html":"<b>&amp;</b>","z":1,"a":true},"b":{"y":1.0e3,"x":[1,2.50]},"a":null}`,
		`{"same":1,"same":2,"Same":"\u003c\/\u00fc ü"}`, "{\"lines\":\"\u2028\u2029\"}", filled("<"), filled("x"), filled("\u2028"), filled(`\u003e`), filled("ü&"),
	}
	onEachLog(t, func(t *testing.T, r *rig) {
		api, err := client.NewSigned(client.SignedOptions{URL: r.url, AppID: "app-id", Key: "app-key", Secret: "app-secret"})
		if err != nil {
			t.Fatal(err)
		}
		for n, extras := range all {
			if err := api.Publish(t.Context(), client.Publish{Name: "e", Channels: []string{"c"}, Data: fmt.Sprint(n, " <&>"), Extras: json.RawMessage(extras)}); err != nil {
				t.Fatalf("%.80s of %d bytes: %v", extras, len(extras), err)
			}
		}
		other := newMemoryRigThatKeeps(t, 1000, nil)
		r.succeed("", "replay", "c", "--to-channel", "copy", "--speed", "max")
		r.succeed("", "replay", "copy", "--to-channel", "again", "--speed", "max")
		other.imports(r.succeed("", "export", "c"))
		other.imports(r.succeed("", "export", "copy"))
		for _, copied := range []struct {
			at       *rig
			to, from string
		}{{r, "copy", "c"}, {r, "again", "copy"}, {other, "c", "c"}, {other, "copy", "copy"}} {
			source, got := r.history(copied.from), copied.at.history(copied.to)
			if len(got) != len(all) {
				t.Fatalf("%d events in %s, want %d", len(got), copied.to, len(all))
			}
			for n, extras := range all {
				own := ""
				if len(extras) > len("{}") {
					own = extras[1:len(extras)-1] + ","
				}
				i := source[n]
				want := fmt.Sprintf(`{%s"replay":{"channel":%q,"stream_id":%q,"serial":%d,"published_at_ms":%d}}`, own, copied.from, i.StreamID, i.Serial, i.PublishedAtMS)
				if is := gjson.Get(string(got[n].Message), "extras").Raw; is != want || got[n].Data() != fmt.Sprint(n, " <&>") {
					t.Errorf("event %d of %s has\n%.200s of %d bytes, want\n%.200s of %d", n, copied.to, is, len(is), want, len(want))
				}
			}
		}
	})
}

// TestAReplayThatIsStoppedBeforeItBeginsFails: such a replay must not look complete.
func TestAReplayThatIsStoppedBeforeItBeginsFails(t *testing.T) {
	asked := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case asked <- struct{}{}:
		default: // asked once more
		}
		<-r.Context().Done()
	}))
	defer server.Close()
	for _, into := range [][]string{nil, {"--to-channel", "copy"}} {
		c := start(t, strings.NewReader(""), append([]string{"replay", "c", "--url", server.URL}, into...)...)
		<-asked
		c.interrupt()
		if status := c.wait(); status != exitFailure || !strings.Contains(c.errors.String(), "stopped; nothing was replayed") {
			t.Errorf("status %d: %s", status, c.errors)
		}
	}
}
