package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTime03ItemsAreWrittenAndReadAsJSONIs: the fast encoder and parser agree with encoding/json.
func TestTime03ItemsAreWrittenAndReadAsJSONIs(t *testing.T) {
	key, hint := "k\"<", false
	for name, i := range map[string]HistoryItem{
		"all": {
			StreamID: "e", Serial: 1 << 52, PublishedAtMS: -5, MessageID: "<m\u2028>", EventName: "n\x00ü", PayloadSize: 7, ConflationKey: &key, Delta: &hint,
			Skipped: "why", Message: `{"data":"<\u00e4>"}`,
		},
		"little":                {Serial: 1, Message: "{}"},
		"escapes in all places": {StreamID: `a\"b`, Serial: 2, MessageID: "\t", EventName: `\\`, Skipped: "\n", Message: `[1,"\\\""]`},
	} {
		text := i.AppendJSON(nil)
		var slow, fast HistoryItem
		if err := json.Unmarshal(text, &slow); err != nil {
			t.Fatalf("%s: %q: %v", name, text, err)
		}
		if !fast.parse(string(text)) {
			t.Fatalf("%s: %q is not read", name, text)
		}
		for what, got := range map[string]HistoryItem{"slow": slow, "fast": fast} {
			if diff := cmp.Diff(i, got); diff != "" {
				t.Errorf("%s, %s (-written +read):\n%s", name, what, diff)
			}
		}
	}
	for _, text := range []string{"", "{", "null", "[]", "{}", `{"serial":1`, `{"serial":1}}`, `{"serial":1,"message":{"a"}}`} {
		if (&HistoryItem{}).parse(text) {
			t.Errorf("%q is an item", text)
		}
	}
}

// TestTime03LinesThatBreakOff: a response that is cut off anywhere gives the items before that and an error.
func TestTime03LinesThatBreakOff(t *testing.T) {
	const whole = `{"serial":1,"message":{"data":"a"}}` + "\n" + `{"gap":{"after_serial":1}}` + "\n" + `{"serial":3,"message":{"data":"b"}}` + "\n" +
		`{"end":{"has_more":true,"continuity":{"stream_id":"e"}}}` + "\n"
	for n := range len(whole) + 1 {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(whole[:n])) }))
		s, err := NewSigned(SignedOptions{URL: server.URL, AppID: "a", Key: "k", Secret: "s", HTTP: server.Client()})
		if err != nil {
			t.Fatal(err)
		}
		var serials, gaps []uint64
		end, err := s.HistoryLines(context.Background(), "c", HistoryQuery{}, func(i *HistoryItem) error { serials = append(serials, i.Serial); return nil },
			func(after uint64) { gaps = append(gaps, after) })
		server.Close()
		done := n >= len(whole)-1
		if done != (err == nil) || done && (!end.HasMore || end.Continuity.StreamID != "e") || err != nil && !errors.Is(err, ErrBrokenOff) {
			t.Errorf("%d bytes: %+v, %v", n, end, err)
		}
		if got := len(serials) + len(gaps); got < strings.Count(whole[:n], "\n")-map[bool]int{true: 1}[done && n == len(whole)] || got > 3 {
			t.Errorf("%d bytes: events %v and gaps %v", n, serials, gaps)
		}
	}
}
