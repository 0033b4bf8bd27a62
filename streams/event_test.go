package streams

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"github.com/sluicehq/sluice/broker"
)

// TestEventsSurviveTheirHeaders: an event that a gateway writes is read by every gateway as it was, whatever
// its texts contain.
func TestEventsSurviveTheirHeaders(t *testing.T) {
	text := rapid.StringN(0, 20, 200)
	rapid.Check(t, func(t *rapid.T) {
		ev := broker.Event{
			Name: "n" + rapid.StringN(0, 20, 199).Draw(t, "name"), Data: []byte(text.Draw(t, "data")),
			UserID: text.Draw(t, "user"), ExcludeSocket: text.Draw(t, "exclude"), MessageID: text.Draw(t, "message"),
			Delta:  rapid.SampledFrom([]broker.DeltaHint{broker.DeltaDefault, broker.DeltaNever, broker.DeltaAlways}).Draw(t, "delta"),
			Node:   rapid.SampledFrom([]string{"", "n1"}).Draw(t, "node"),
			Origin: rapid.SampledFrom([]broker.Origin{broker.OriginRaw, broker.OriginHTTP, broker.OriginClient}).Draw(t, "origin"),
			HasKey: rapid.Bool().Draw(t, "keyed"),
		}
		if ev.HasKey {
			ev.ConflationKey = text.Draw(t, "key")
		}
		ev.Tags = rapid.MapOfN(rapid.StringN(1, 10, 256), text, 0, 5).Draw(t, "tags")
		m, err := encode("subject", &ev, "id")
		if err != nil {
			t.Fatal(err)
		}
		// The header as the server sends it: parsed from lines.
		for key, values := range m.Header {
			for _, v := range values {
				if strings.ContainsAny(v, "\r\n\x00") || v != strings.TrimSpace(v) {
					t.Fatalf("header %s has %q, which a line cannot carry", key, v)
				}
			}
		}
		got, skipped := decode(m.Header, m.Data, 64<<10)
		if skipped != "" {
			t.Fatalf("skipped: %s", skipped)
		}
		if diff := cmp.Diff(ev, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzDecodeMessage: whatever a raw publisher sends is decoded to an event within all limits, or to one that
// is skipped with a reason and has no data.
func FuzzDecodeMessage(f *testing.F) {
	f.Add("Event", "tick", "Tags", `{"a":"b"}`, []byte(`{"x":1}`))
	f.Add("Conflation-Key", `"\x00"`, "Extras", `{"headers":{}}`, []byte("plain"))
	f.Add("Event", "pusher:error", "Delta", "FALSE", []byte{0xff})
	f.Add("Tags", "[", "Exclude-Socket", strings.Repeat("1", 300), []byte{})
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 string, data []byte) {
		const limit = 1000
		ev, skipped := decode(nats.Header{key1: {value1}, key2: {"first", value2}}, data, limit)
		if !utf8.ValidString(ev.Name) || ev.Name == "" && skipped == "" || len(ev.Name) > maxEventName+8 {
			t.Fatalf("event name %q", ev.Name)
		}
		if skipped != "" {
			if ev.Data != nil || ev.Tags != nil || !utf8.ValidString(skipped) {
				t.Fatalf("skipped for %q, yet %+v", skipped, ev)
			}
			return
		}
		if len(ev.Data) > limit || !utf8.Valid(ev.Data) || len(ev.Tags) > maxTags || strings.HasPrefix(ev.Name, "pusher:") {
			t.Fatalf("accepted: %+v", ev)
		}
		for _, s := range []string{ev.ConflationKey, ev.UserID, ev.ExcludeSocket, ev.MessageID, string(ev.Extras)} {
			if !utf8.ValidString(s) {
				t.Fatalf("accepted: %+v", ev)
			}
		}
	})
}

// TestTheLongestUserIDTravels: client events of a user with the longest id that may sign in are not skipped.
func TestTheLongestUserIDTravels(t *testing.T) {
	ev := broker.Event{Name: "client-e", Data: []byte("{}"), UserID: strings.Repeat("🙂", 128), Origin: broker.OriginClient}
	m, err := encode("ch.app.c", &ev, "id")
	if err != nil {
		t.Fatal(err)
	}
	if got, skipped := decode(m.Header, m.Data, 1000); skipped != "" || got.UserID != ev.UserID {
		t.Errorf("skipped for %q, user %q", skipped, got.UserID)
	}
}

// TestOfTagsOfOneNameTheFirstCounts: of several tags with one name the first counts, as in bodies of the HTTP
// API.
func TestOfTagsOfOneNameTheFirstCounts(t *testing.T) {
	for text, want := range map[string]map[string]string{
		`{"a":"x","b":"y"}`:                      {"a": "x", "b": "y"},
		`{"a":"x","b":"y","a":"z","\u0061":"z"}`: {"a": "x", "b": "y"},
		`{"a":null,"a":"z","q\"":"\"","b":"\""}`: {"a": "", "q\"": "\"", "b": "\""},
		`{}`:                                     {}, `null`: {},
	} {
		got, err := parseTags(text)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
	}
}
