package streams

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
)

func claimed() broker.Event {
	return broker.Event{
		Name: "client-e", Data: []byte("data"), UserID: "alice", Node: "n1", MessageID: "m1", Origin: broker.OriginClient,
		Extras: []byte(`{"a":1}`), Tags: map[string]string{"a": "b"}, ConflationKey: "k", HasKey: true, ExcludeSocket: "1.1",
	}
}

func signed(t testing.TB, c *credentials, subject string) *nats.Msg {
	t.Helper()
	ev := claimed()
	m, err := encode(subject, &ev, "id")
	if err != nil {
		t.Fatal(err)
	}
	c.sign(m)
	return m
}

// TestTrust06AProofIsBoundToItsMessage: a proof is valid for one message in one channel of one app, and for
// no other.
func TestTrust06AProofIsBoundToItsMessage(t *testing.T) {
	c := newCredentials("app", []Secret{"s1", "s2"})
	believed := func(change func(m *nats.Msg)) bool {
		m := signed(t, c, "ch.app.c")
		change(m)
		return c.believes(m.Subject, m.Header, m.Data)
	}
	if !believed(func(*nats.Msg) {}) {
		t.Fatal("the message itself is not believed")
	}
	set := func(key string, values ...string) func(m *nats.Msg) {
		return func(m *nats.Msg) { m.Header[key] = values }
	}
	changes := map[string]func(m *nats.Msg){
		"another channel": func(m *nats.Msg) { m.Subject = "ch.app.d" },
		"other data":      func(m *nats.Msg) { m.Data = []byte("datA") },
		"no proof":        func(m *nats.Msg) { delete(m.Header, headerProof) },
		"a short proof":   func(m *nats.Msg) { m.Header[headerProof][0] = m.Header[headerProof][0][:21] },
		"not a proof":     set(headerProof, strings.Repeat("!", 22)),
		"two proofs":      func(m *nats.Msg) { m.Header[headerProof] = append(m.Header[headerProof], strings.Repeat("A", 22)) },
		"a name in the place of the next": func(m *nats.Msg) {
			delete(m.Header, headerUser)
			m.Header[headerOrigin] = []string{"alice" + m.Header[headerOrigin][0]}
		},
	}
	for _, name := range proven {
		changes["another "+name] = set(name, "other")
		changes["an empty "+name] = set(name, "")
		changes["a second "+name] = func(m *nats.Msg) { m.Header[name] = append(slices.Clone(m.Header[name]), "other") }
		if name != headerDelta {
			changes["no "+name] = func(m *nats.Msg) { delete(m.Header, name) }
		}
	}
	for name, change := range changes {
		if believed(change) {
			t.Errorf("%s: still believed", name)
		}
	}
	m := signed(t, newCredentials("app", []Secret{"s2", "s3"}), "ch.app.c")
	if !c.believes(m.Subject, m.Header, m.Data) {
		t.Error("the second secret proves nothing")
	}
	for _, other := range []*credentials{newCredentials("app", []Secret{"s4"}), newCredentials("other", []Secret{"s1"})} {
		m := signed(t, other, "ch.app.c")
		if c.believes(m.Subject, m.Header, m.Data) {
			t.Error("a stranger is believed")
		}
	}
}

// TestTrust06ClaimsOfRawPublishers: headers that only a gateway may set are removed from events of raw
// publishers. The event itself is delivered.
func TestTrust06ClaimsOfRawPublishers(t *testing.T) {
	s := listening(t)
	opt := Options{ConnectOptions: s.ConnectOptions(), Apps: []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}}}}
	l := open(t, opt)
	raw := dialWire(t, s.ClientURL())
	live := attachSink(t, l, "c")
	blocks := map[string]string{"all": "", "with a proof": "Proof: " + strings.Repeat("A", 22) + "\r\n", "from a stranger": ""}
	for key, value := range map[string]string{headerUser: "alice", headerOrigin: "client", headerNode: "n1", headerMessage: "m1", headerExtras: `{"a":1}`} {
		line := key + ": " + value + "\r\n"
		blocks[key] = line
		blocks["all"] += line
		blocks["with a proof"] += line
	}
	stranger := signed(t, newCredentials("app-1", []Secret{"other"}), SubjectOf("app-1", "c"))
	for key, values := range stranger.Header {
		blocks["from a stranger"] += key + ": " + values[0] + "\r\n"
	}
	names := slices.Sorted(maps.Keys(blocks))
	for _, name := range names {
		if answer := raw.publish(SubjectOf("app-1", "c"), "NATS/1.0\r\n"+blocks[name]+"\r\n", "odd"); strings.Contains(answer, "error") {
			t.Fatalf("%s: %s", name, answer)
		}
	}
	own := claimed()
	if _, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: &own}); err != nil {
		t.Fatal(err)
	}
	awaitTrue(t, "all have come", func() bool { got, _ := live.all(); return len(got) == len(names)+1 })
	page, err := l.Read(t.Context(), "app-1", "c", broker.Query{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	got, _ := live.all()
	for way, all := range map[string][]*broker.Publication{"live": got, "history": page.Publications} {
		for i, name := range names {
			p := all[i]
			if p.Skipped != "" || string(p.Data) != "odd" {
				t.Errorf("%s, %s: not delivered: %+v", way, name, p)
			}
			if p.UserID != "" || p.Origin != broker.OriginRaw || p.Node != "" || p.MessageID != "" || p.Extras != nil {
				t.Errorf("%s, %s: believed: %+v", way, name, p.Event)
			}
		}
		if diff := cmp.Diff(own, all[len(names)].Event); diff != "" {
			t.Errorf("%s: the gateway's own: %s", way, diff)
		}
	}
	if l.Stats().Unproven == 0 {
		t.Error("nothing was counted")
	}
}

// TestTrust06WhatIsStoredAgainIsBelieved: an event that is stored again because an edited stream misplaced it
// has another id and a valid proof.
func TestTrust06WhatIsStoredAgainIsBelieved(t *testing.T) {
	s := listening(t)
	l := open(t, Options{ConnectOptions: s.ConnectOptions(), Apps: []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}}}})
	a := l.apps.Of("app-1")
	m := signed(t, a.credentials.Load(), SubjectOf("app-1", "c"))
	p := &parcel{m: m, size: m.Size()}
	l.readdress(a, p)
	if again := p.m; last(again.Header, nats.MsgIdHdr) == last(m.Header, nats.MsgIdHdr) || !l.believes(a, again.Subject, again.Header, again.Data) {
		t.Errorf("%v follows on %v", again.Header, m.Header)
	}
}

// TestTrust06RotatedSecrets: with both secrets every proof is valid. Without the former secret, its events
// are delivered without their claims.
func TestTrust06RotatedSecrets(t *testing.T) {
	s := listening(t)
	opt := func(secrets ...Secret) Options {
		return Options{ConnectOptions: s.ConnectOptions(), Apps: []AppOptions{{ID: "app-1", Secrets: secrets}}}
	}
	l := open(t, opt("old"))
	ev := claimed()
	if _, err := l.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: &ev}); err != nil {
		t.Fatal(err)
	}
	users := func() string {
		page, err := l.Read(t.Context(), "app-1", "c", broker.Query{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		out := ""
		for _, p := range page.Publications {
			out += p.UserID + ";"
		}
		return out
	}
	for i, step := range []struct {
		secrets []Secret
		want    string
	}{{[]Secret{"old", "new"}, "alice;"}, {[]Secret{"new", "old"}, "alice;"}, {[]Secret{"new"}, ";"}} {
		if err := l.Retain(t.Context(), opt(step.secrets...).Apps); err != nil {
			t.Fatal(err)
		}
		if got := users(); got != step.want {
			t.Errorf("step %d: users %s, want %s", i, got, step.want)
		}
	}
}

// TestTrust05IdempotencyKeysOfOthers: no id that a raw publisher can guess is that of a gateway, and the
// publisher's own ids keep their meaning.
func TestTrust05IdempotencyKeysOfOthers(t *testing.T) {
	s := listening(t)
	opt := Options{ConnectOptions: s.ConnectOptions(), Apps: []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}}}}
	l, second := open(t, opt), open(t, opt)
	raw := dialWire(t, s.ClientURL())
	const id = "key/e/KEY/c"
	guesses := []string{
		id, "gateway/" + id, "gateway/", newCredentials("app-1", []Secret{"guess"}).id(id), newCredentials("other", []Secret{"secret"}).id(id),
	}
	for _, guess := range guesses {
		for i, want := range []bool{false, true} {
			answer := raw.publish(SubjectOf("app-1", "c"), "NATS/1.0\r\nNats-Msg-Id: "+guess+"\r\n\r\n", "raw")
			if got := strings.Contains(answer, `"duplicate"`); got != want || strings.Contains(answer, "error") {
				t.Errorf("raw publish %d with the id %q: %s", i, guess, answer)
			}
		}
	}
	// The log tells anybody what the last id was. The next id cannot be derived from it.
	var last [2]string
	for i := range last {
		publishText(t, l, "other", "without a key")
		answer := raw.publish(SubjectOf("app-1", "c"), "NATS/1.0\r\nNats-Expected-Last-Msg-Id: x\r\n\r\n", "raw")
		if _, last[i], _ = strings.Cut(answer, "last msg ID: "); len(last[i]) < 26 {
			t.Fatalf("the last id is not in %s", answer)
		}
	}
	if last[0][:8] == last[1][:8] {
		t.Errorf("the id %.26s follows %.26s", last[1], last[0])
	}
	var first uint64
	for i, log := range []*Log{l, second} {
		receipts, err := log.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: []byte("signed"), DedupID: id}})
		if err != nil {
			t.Fatal(err)
		}
		if receipts[0].Duplicate != (i == 1) {
			t.Errorf("publish %d: %+v", i, receipts[0])
		}
		if i == 0 {
			first = receipts[0].Offset
		} else if receipts[0].Offset != first {
			t.Errorf("the repeated publish has offset %d, want %d", receipts[0].Offset, first)
		}
	}
	page, err := l.Read(t.Context(), "app-1", "c", broker.Query{Limit: 100, NewestFirst: true})
	if err != nil || len(page.Publications) != len(guesses)+1 || string(page.Publications[0].Data) != "signed" {
		t.Errorf("history has %d events, want %d with the signed one last: %v", len(page.Publications), len(guesses)+1, err)
	}
}

// TestTrust05AnIdThatTheLogTold: the log tells a publisher the id of its last message, and once the log has
// forgotten that id the publisher can use it. The signed publish with the key from which the id was made is
// stored nevertheless, and once.
func TestTrust05AnIdThatTheLogTold(t *testing.T) {
	s := listening(t)
	opt := Options{ConnectOptions: s.ConnectOptions(), Apps: []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}}}}
	l, second := open(t, opt), open(t, opt)
	raw := dialWire(t, s.ClientURL())
	ids := l.apps.Of("app-1").credentials.Load()
	var want []string
	for claims := range maxClaimed + 2 {
		key := fmt.Sprint("key ", claims)
		told := []string{ids.id(key)}
		for n := 1; n < claims; n++ {
			told = append(told, ids.id(fmt.Sprintf("%s\x00%d", key, n)))
		}
		for i, id := range told[:min(claims, len(told))] {
			// Some are sent as they are, some with a proof copied from elsewhere.
			proof := ""
			if i%2 == 1 {
				proof = "Proof: " + strings.Repeat("A", 22) + "\r\n"
			}
			if answer := raw.publish(SubjectOf("app-1", "other"), "NATS/1.0\r\nNats-Msg-Id: "+id+"\r\n"+proof+"\r\n", "claimed"); strings.Contains(answer, `"duplicate"`) || strings.Contains(answer, "error") {
				t.Fatalf("claiming %s: %s", id, answer)
			}
		}
		var at broker.Receipt
		for i, log := range []*Log{l, second, l} {
			got, err := log.Publish(t.Context(), "app-1", broker.Outgoing{Channel: "c", Event: &broker.Event{Name: "e", Data: []byte(key), DedupID: key}})
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				at = got[0]
			}
			// With more claims than that, each publish is stored as an event of its own.
			known := i > 0 && claims <= maxClaimed
			if got[0].Duplicate != known || known && got[0].Offset != at.Offset {
				t.Errorf("%d claims, publish %d: %+v, the first was %+v", claims, i, got[0], at)
			}
			if !known {
				want = append(want, key)
			}
		}
	}
	checkHistory(t, l, "c", nil, want)
}

// TestTrust06ControlHeadersOfJetStream: JetStream's control headers have no effect on the streams of apps.
func TestTrust06ControlHeadersOfJetStream(t *testing.T) {
	s := listening(t)
	opt := Options{ConnectOptions: s.ConnectOptions(), Apps: []AppOptions{{ID: "app-1", Secrets: []Secret{"secret"}, MaxMessages: 1000}}}
	l := open(t, opt)
	raw := dialWire(t, s.ClientURL())
	live := attachSink(t, l, "c")
	publishText(t, l, "c", "first")
	publishText(t, l, "other", "kept")
	want := []string{"first"}
	for _, c := range []struct {
		lines string
		// refused says that the log must not store the message.
		refused bool
	}{
		{"Nats-Rollup: sub", true},
		{"Nats-Rollup: all", true},
		{"Nats-Rollup: other", true},
		{"Nats-TTL: 1", true},
		{"Nats-TTL: never", true},
		{"Nats-TTL: x", true},
		{"Nats-Incr: 5", true},
		{"Nats-Counter-Sources: {}", false},
		{"Nats-Schedule: @at 2026-01-01T00:00:00Z\r\nNats-Schedule-Target: " + SubjectOf("app-1", "other"), true},
		{"Nats-Schedule: @every 1s\r\nNats-Schedule-Target: " + LiveSubjectOf("app-1", "other"), true},
		{"Nats-Scheduler: x\r\nNats-Schedule-Next: purge", true},
		{"Nats-Batch-Id: b\r\nNats-Batch-Sequence: 1\r\nNats-Batch-Commit: 1", true},
		{"Nats-Expected-Stream: OTHER", true},
		{"Nats-Expected-Stream: CH_app-1", false},
		{"Nats-Expected-Last-Sequence: 999999", true},
		{"Nats-Expected-Last-Subject-Sequence: 999999", true},
		{"Nats-Expected-Last-Subject-Sequence: 0\r\nNats-Expected-Last-Subject-Sequence-Subject: rt.x", false},
		{"Nats-Expected-Last-Msg-Id: x", true},
		{"Nats-Required-Api-Level: 99", false},
		{"Nats-Marker-Reason: MaxAge", false},
		{"KV-Operation: PURGE", false},
		{"Nats-Stream-Source: OTHER 1 > > >", false},
		{"Nats-Response-Type: error", false},
		{"Nats-Request-Info: {}", false},
		{"Nats-Trace-Dest: " + LiveSubjectOf("app-1", "c"), true},
		{"Nats-Trace-Dest: x\r\nNats-Trace-Only: false", false},
		{"Status: 503", false},
		{"Status: 100\r\nDescription: Idle Heartbeat\r\nNats-Consumer-Stalled: x", false},
	} {
		answer := raw.publish(SubjectOf("app-1", "c"), "NATS/1.0\r\n"+c.lines+"\r\n\r\n", c.lines)
		switch refused := strings.Contains(answer, "error"); {
		case c.refused && !refused:
			t.Errorf("%q: %s", c.lines, answer)
		case !refused:
			want = append(want, c.lines)
		}
	}
	publishText(t, l, "c", "last")
	want = append(want, "last")
	awaitTexts(t, live, want)
	checkHistory(t, l, "c", live, want)
	page, err := l.Read(t.Context(), "app-1", "other", broker.Query{Limit: 100})
	if err != nil || len(page.Publications) != 1 || string(page.Publications[0].Data) != "kept" {
		t.Errorf("another channel has %d events: %v", len(page.Publications), err)
	}
}

func BenchmarkPublication(b *testing.B) {
	c := newCredentials("app", []Secret{"secret"})
	epoch := "e"
	a := &appLog{}
	a.epoch.Store(&epoch)
	a.credentials.Store(c)
	l := &Log{}
	l.opt.MaxData = 1 << 20
	for _, size := range []int{200, 10_000} {
		for _, proven := range []bool{false, true} {
			b.Run(fmt.Sprintf("data=%d/proven=%t", size, proven), func(b *testing.B) {
				ev := broker.Event{Name: "tick", Data: []byte(strings.Repeat("x", size))}
				if proven {
					ev.Origin, ev.Node = broker.OriginHTTP, "node-1"
				}
				msg, err := encode("ch.app.c", &ev, "abcdefghijklmnopqrstuv")
				if err != nil {
					b.Fatal(err)
				}
				c.sign(msg)
				m := &stored{place: truePlace, header: msg.Header, data: msg.Data}
				b.ReportAllocs()
				for b.Loop() {
					if p := l.publication(a, m, epoch); p.Node != ev.Node {
						b.Fatal("not believed")
					}
				}
			})
		}
	}
}
