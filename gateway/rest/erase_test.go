package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/lives"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/rest"
	"github.com/sluicehq/sluice/kv"
)

// newErasable returns an API whose channels can be purged and reset.
func newErasable(t *testing.T, keeps memory.Options) *rig {
	t.Helper()
	return newRigWith(t, keeps, func(o *rest.Options) {
		l, err := lives.New(t.Context(), o.Log.(broker.Log), kv.NewMemoryTable(nil), func() int { return 1 }, o.Logger)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		o.Eraser, o.History = l, l.Broker()
	})
}

// state is what the API returns about the stream of a channel.
type state struct {
	Channel string
	Stream  struct {
		ID       string  `json:"stream_id"`
		Next     *uint64 `json:"next_serial"`
		Retained struct {
			StreamID string  `json:"stream_id"`
			Oldest   *uint64 `json:"oldest_available_serial"`
			Newest   *uint64 `json:"newest_available_serial"`
			Messages int     `json:"retained_messages"`
		}
		State struct {
			ID         string `json:"stream_id"`
			Durable    string `json:"durable_state"`
			Transition *int64 `json:"last_transition_at_ms"`
		}
	}
}

func (r *rig) state(channel string) (s state) {
	r.t.Helper()
	a := r.call(http.MethodGet, "app", "/channels/"+channel+"/history/state", nil)
	if err := json.Unmarshal(a.Body, &s); err != nil || a.Status != http.StatusOK {
		r.t.Fatalf("the state is %d %s", a.Status, a.Body)
	}
	if s.Channel != channel || s.Stream.ID == "" || s.Stream.ID != s.Stream.Retained.StreamID || s.Stream.ID != s.Stream.State.ID || s.Stream.State.Durable != "healthy" {
		r.t.Errorf("the state is %s", a.Body)
	}
	return s
}

func (r *rig) erase(operation, more string) (answer, map[string]any) {
	r.t.Helper()
	body := fmt.Sprintf(`{"confirm_channel":"c","confirm_operation":%q,"reason":"because"%s}`, operation, more)
	a := r.call(http.MethodPost, "app", "/channels/c/history/"+operation, []byte(body))
	var said map[string]any
	if err := json.Unmarshal(a.Body, &said); err != nil {
		r.t.Fatalf("%s: %v", a.Body, err)
	}
	return a, said
}

// TestHI07_RepeatedMembersConfirmNothing: of repeated members the first counts.
func TestHI07_RepeatedMembersConfirmNothing(t *testing.T) {
	r := newErasable(t, memory.Options{})
	r.fill(2)
	for body, want := range map[string]int{
		`{"confirm_channel":"d","confirm_operation":"reset","reason":"because","confirm_channel":"c"}`:                         http.StatusBadRequest,
		`{"confirm_channel":"c","Confirm_Channel":"d","confirm_operation":"reset","reason":"because","reason":7,"x":1,"x":[]}`: http.StatusOK,
	} {
		if a := r.call(http.MethodPost, "app", "/channels/c/history/reset", []byte(body)); a.Status != want {
			t.Errorf("%s: got %d %s", body, a.Status, a.Body)
		}
	}
}

func TestHI07_AResetBeginsANewStream(t *testing.T) {
	r := newErasable(t, memory.Options{})
	r.fill(5)
	r.publish(`{"name":"n","channel":"d","data":"other"}`)
	was, other := r.state("c"), r.state("d")
	l, _ := r.history("?limit=2")
	a, said := r.erase("reset", `,"requested_by":"somebody"`)
	if a.Status != http.StatusOK || said["previous_stream_id"] != was.Stream.ID || said["purged_messages"] != 5.0 || said["purged_bytes"] != 5.0 || said["channel"] != "c" {
		t.Fatalf("the answer is %d %s", a.Status, a.Body)
	}
	is := r.state("c")
	if is.Stream.ID == was.Stream.ID || is.Stream.ID != said["new_stream_id"] || is.Stream.Retained.Messages != 0 || is.Stream.State.Transition == nil {
		t.Errorf("the state is %+v", is)
	}
	if again := r.state("d"); again.Stream.ID != other.Stream.ID || again.Stream.Retained.Messages != 1 {
		t.Errorf("another channel has become %+v, and was %+v", again, other)
	}
	old := func(when string) {
		for _, format := range []string{"json", "ndjson"} {
			if _, a := r.history("?limit=2&format=" + format + "&cursor=" + url.QueryEscape(l.NextCursor)); a.Status != http.StatusBadRequest || a.Code != "invalid_input" {
				t.Errorf("an old cursor %s, as %s: %d %s", when, format, a.Status, a.Body)
			}
		}
		_, err := r.api.Page(t.Context(), rest.Asked{
			ChannelHistory: pusher.ChannelHistory{Channel: "c", Params: url.Values{"limit": {"2"}, "cursor": {l.NextCursor}}}, App: r.app, MaxBytes: 1 << 20,
		})
		if err == nil || !strings.Contains(err.Error(), "life of the log") {
			t.Errorf("an old cursor %s, over a socket: %v", when, err)
		}
	}
	old("while nothing is there")
	r.fill(2)
	old("while others are there")
	for _, query := range []string{"", "?format=ndjson"} {
		got := r.call(http.MethodGet, "app", "/channels/c/history"+query, nil)
		// The id is in two items and in their frames, in the page and in its state.
		if n := strings.Count(string(got.Body), `"stream_id":"`+is.Stream.ID+`"`); n != 6 || strings.Contains(string(got.Body), `"`+was.Stream.ID+`"`) {
			t.Errorf("history%s names the stream %d times: %s", query, n, got.Body)
		}
	}
	if now := r.state("c"); *now.Stream.Retained.Oldest <= *was.Stream.Retained.Newest || *now.Stream.Next != *now.Stream.Retained.Newest+1 {
		t.Errorf("the state is %+v", now)
	}
	// Two more resets of an empty channel.
	_, first := r.erase("reset", "")
	_, second := r.erase("reset", "")
	if second["purged_messages"] != 0.0 || first["new_stream_id"] != second["previous_stream_id"] || second["new_stream_id"] == first["new_stream_id"] {
		t.Errorf("two more: %v, %v", first, second)
	}
}

func TestHI08_APurgeKeepsTheStream(t *testing.T) {
	clock := time.UnixMilli(1_700_000_000_000)
	r := newErasable(t, memory.Options{Now: func() time.Time { clock = clock.Add(time.Second); return clock }})
	r.listen("c") // The log forgets empty channels without subscribers.
	r.fill(10)
	was := r.state("c")
	all := r.stored("app", "c")
	check := func(name string, purged int, left int) {
		t.Helper()
		now := r.state("c")
		if now.Stream.ID != was.Stream.ID || now.Stream.Retained.Messages != left || now.Stream.State.Transition != nil {
			t.Errorf("%s: the state is %+v", name, now)
		}
		if left > 0 && (*now.Stream.Retained.Oldest != all[len(all)-left].Offset || *now.Stream.Retained.Newest != *was.Stream.Retained.Newest) {
			t.Errorf("%s: from %d to %d", name, *now.Stream.Retained.Oldest, *now.Stream.Retained.Newest)
		}
		if left == 0 && (now.Stream.Retained.Oldest != nil || now.Stream.Retained.Newest != nil) {
			t.Errorf("%s: the state is %+v", name, now)
		}
	}
	for _, c := range []struct {
		mode         string
		purged, left int
	}{
		{fmt.Sprintf(`"before_serial","before_serial":%d`, all[3].Offset), 3, 7},
		{fmt.Sprintf(`"before_serial","before_serial":%d`, all[3].Offset), 0, 7},
		{`"before_serial","before_serial":1`, 0, 7},
		{fmt.Sprintf(`"before_time_ms","before_time_ms":%d`, all[6].Time.UnixMilli()), 3, 4},
		{fmt.Sprintf(`"before_time_ms","before_time_ms":%d`, all[6].Time.UnixMilli()+1), 1, 3},
		{`"before_time_ms","before_time_ms":1`, 0, 3},
		{fmt.Sprintf(`"before_serial","before_serial":%d.0`, all[8].Offset), 1, 2},
		{`"all"`, 2, 0},
		{`"all"`, 0, 0},
		{`"before_time_ms","before_time_ms":1`, 0, 0},
	} {
		a, said := r.erase("purge", `,"mode":`+c.mode)
		if a.Status != http.StatusOK || said["purged_messages"] != float64(c.purged) || said["purged_bytes"] != float64(c.purged) || said["stream_id"] != was.Stream.ID {
			t.Errorf("%s: %d %s", c.mode, a.Status, a.Body)
		}
		check(c.mode, c.purged, c.left)
		if _, a := r.history("?start_serial=1"); !strings.Contains(string(a.Body), `"truncated_by_retention":true`) {
			t.Errorf("%s: the page does not say that something is gone: %s", c.mode, a.Body)
		}
	}
	// HI-06: a page that begins below what was removed says that events are gone, even if no event of the
	// channel is left.
	for query, complete := range map[string]bool{
		"":                true,
		"?start_serial=1": false,
		fmt.Sprintf("?start_serial=%d", all[9].Offset):                 false,
		fmt.Sprintf("?start_serial=%d", all[9].Offset+1):               true,
		fmt.Sprintf("?start_time_ms=%d", all[0].Time.UnixMilli()):      false,
		fmt.Sprintf("?end_serial=%d", all[9].Offset):                   true,
		"?start_time_ms=9007199254740992":                              true,
		fmt.Sprintf("?format=ndjson&start_serial=%d", all[9].Offset):   false,
		fmt.Sprintf("?format=ndjson&start_serial=%d", all[9].Offset+1): true,
	} {
		a := r.call(http.MethodGet, "app", "/channels/c/history"+query, nil)
		if !strings.Contains(string(a.Body), fmt.Sprintf(`"complete":%t`, complete)) || strings.Contains(string(a.Body), `"truncated_by":"retention"`) == complete {
			t.Errorf("with nothing left history%s is not complete: %t: %s", query, complete, a.Body)
		}
		a = r.call(http.MethodGet, "app", "/channels/never/history"+query, nil)
		if !strings.Contains(string(a.Body), `"complete":true`) {
			t.Errorf("history%s of a channel that never had anything: %s", query, a.Body)
		}
	}
	r.fill(4)
	if a, said := r.erase("purge", `,"mode":"before_time_ms","before_time_ms":9007199254740992`); said["purged_messages"] != 4.0 {
		t.Errorf("before the far future: %d %s", a.Status, a.Body)
	}
}

func TestTime01WhatAPurgeAndAResetMustSay(t *testing.T) {
	r := newErasable(t, memory.Options{})
	r.fill(3)
	for name, c := range map[string]struct{ operation, body, says string }{
		"another channel":     {"reset", `{"confirm_channel":"d","confirm_operation":"reset","reason":"r"}`, "confirm_channel"},
		"no channel":          {"purge", `{"confirm_operation":"purge","reason":"r","mode":"all"}`, "confirm_channel"},
		"another operation":   {"reset", `{"confirm_channel":"c","confirm_operation":"purge","reason":"r"}`, "confirm_operation"},
		"the other way round": {"purge", `{"confirm_channel":"c","confirm_operation":"reset","reason":"r","mode":"all"}`, "confirm_operation"},
		"no reason":           {"reset", `{"confirm_channel":"c","confirm_operation":"reset"}`, "reason"},
		"a long reason":       {"reset", `{"confirm_channel":"c","confirm_operation":"reset","reason":"` + strings.Repeat("x", 1025) + `"}`, "1024"},
		"no mode":             {"purge", `{"confirm_channel":"c","confirm_operation":"purge","reason":"r"}`, "mode"},
		"an unknown mode":     {"purge", `{"confirm_channel":"c","confirm_operation":"purge","reason":"r","mode":"some"}`, "mode"},
		"a mode to reset":     {"reset", `{"confirm_channel":"c","confirm_operation":"reset","reason":"r","mode":"all"}`, "mode"},
		"no serial":           {"purge", `{"confirm_channel":"c","confirm_operation":"purge","reason":"r","mode":"before_serial"}`, "before_serial"},
		"serial 0":            {"purge", `{"confirm_channel":"c","confirm_operation":"purge","reason":"r","mode":"before_serial","before_serial":0}`, "before_serial"},
		"a negative serial":   {"purge", `{"confirm_channel":"c","confirm_operation":"purge","reason":"r","mode":"before_serial","before_serial":-1}`, "a number from 1 to 2^53"},
		"a broken serial":     {"purge", `{"confirm_channel":"c","confirm_operation":"purge","reason":"r","mode":"before_serial","before_serial":1.5}`, "a number from 1 to 2^53"},
		"a large serial":      {"purge", `{"confirm_channel":"c","confirm_operation":"purge","reason":"r","mode":"before_serial","before_serial":18446744073709551616}`, "a number from 1 to 2^53"},
		"a text":              {"purge", `{"confirm_channel":"c","confirm_operation":"purge","reason":"r","mode":"before_serial","before_serial":"3"}`, "a number from 1 to 2^53"},
		"a negative time":     {"purge", `{"confirm_channel":"c","confirm_operation":"purge","reason":"r","mode":"before_time_ms","before_time_ms":-1}`, "a number from 1 to 2^53"},
		"half a time":         {"purge", `{"confirm_channel":"c","confirm_operation":"purge","reason":"r","mode":"before_time_ms","before_time_ms":1.5}`, "a number from 1 to 2^53"},
		"two bounds":          {"purge", `{"confirm_channel":"c","confirm_operation":"purge","reason":"r","mode":"before_serial","before_serial":2,"before_time_ms":2}`, "alone"},
		"a bound to all":      {"purge", `{"confirm_channel":"c","confirm_operation":"purge","reason":"r","mode":"all","before_serial":2}`, "no bound"},
		"no time":             {"purge", `{"confirm_channel":"c","confirm_operation":"purge","reason":"r","mode":"before_time_ms"}`, "before_time_ms"},
		"no JSON":             {"purge", `all`, "JSON"},
		"no body":             {"reset", ``, "JSON"},
	} {
		r.call(http.MethodPost, "app", "/channels/c/history/"+c.operation, []byte(c.body)).refused(t, name, http.StatusBadRequest, "invalid_input", c.says)
	}
	if n := len(r.stored("app", "c")); n != 3 {
		t.Errorf("refused requests left %d events of 3", n)
	}
	// HI-08: a purge needs no reason.
	if a := r.call(http.MethodPost, "app", "/channels/c/history/purge", []byte(`{"confirm_channel":"c","confirm_operation":"purge","mode":"all"}`)); a.Status != http.StatusOK {
		t.Errorf("without a reason: %d %s", a.Status, a.Body)
	}
	whole := []byte(`{"confirm_channel":"c","confirm_operation":"reset","reason":"r"}`)
	r.call(http.MethodPost, "off", "/channels/c/history/reset", whole).refused(t, "a disabled app", http.StatusForbidden, "forbidden", "disabled")
	r.call(http.MethodGet, "app", "/channels/c/history/reset", nil).refused(t, "another method", http.StatusMethodNotAllowed, "method_not_allowed", "POST")
	newRig(t, nil).call(http.MethodPost, "app", "/channels/c/history/reset", whole).refused(t, "where nobody can", http.StatusUnprocessableEntity, "feature_disabled", "removed")
}

// TestHI09UntilAttachEndsWithItsLife: the position of a subscription means nothing in another epoch of the
// log, whose serials belong to other events. The subscriber gets an error, and no event that came later.
func TestHI09UntilAttachEndsWithItsLife(t *testing.T) {
	r := newErasable(t, memory.Options{})
	r.fill(5)
	began := map[string]rest.Asked{"below": {Attach: r.at(3), Told: 3}, "above": {Attach: r.at(100), Told: 100}, "at nothing": {Attach: r.at(0)}}
	if a, _ := r.erase("purge", `,"mode":"all"`); a.Status != http.StatusOK {
		t.Fatalf("purging: %d %s", a.Status, a.Body)
	}
	for where, at := range began {
		if got, _, err := r.page(`{"channel":"c","until_attach":true}`, at); err != nil || len(got.Items) > 0 {
			t.Errorf("%s, purged: got %v, %v, want no events", where, got.serials(), err)
		}
	}
	if a, _ := r.erase("reset", ""); a.Status != http.StatusOK {
		t.Fatalf("the reset: %d %s", a.Status, a.Body)
	}
	for _, n := range []int{0, 5} {
		r.fill(n)
		for where, at := range began {
			for _, more := range []string{"", `,"start_serial":1`, `,"direction":"forwards"`, `,"start_serial":200`} {
				got, _, err := r.page(`{"channel":"c","until_attach":true`+more+`}`, at)
				if err == nil || !strings.Contains(err.Error(), "until_attach") || len(got.Items) > 0 {
					t.Errorf("%s%s, %d events later: got %v, %v, want to be told that the stream has ended", where, more, n, got.serials(), err)
				}
			}
			if got, _, err := r.page(`{"channel":"c"}`, at); err != nil || len(got.Items) != n {
				t.Errorf("%s: without until_attach got %v, %v", where, got.serials(), err)
			}
		}
	}
	if got, _, err := r.page(`{"channel":"c","until_attach":true}`, rest.Asked{Attach: r.at(100)}); err != nil || len(got.Items) != 5 {
		t.Errorf("who subscribes again got %v, %v", got.serials(), err)
	}
}

// TestHI08RemovingDoesNotDependOnReading: stored events can be purged and reset even where history is off for
// the app, or for the channels of a pattern.
func TestHI08RemovingDoesNotDependOnReading(t *testing.T) {
	for name, off := range map[string]func(*app.App){
		"for the app": func(a *app.App) { a.HistoryEnabled = false },
		"for a pattern": func(a *app.App) {
			a.Readings = app.NewReadings([]app.ReadingPattern{{Match: "c", Reading: app.Reading{Off: true}}})
		},
	} {
		r := newErasable(t, memory.Options{})
		off(r.app)
		for _, operation := range []string{"purge", "reset"} {
			r.publish(`{"name":"n","channel":"c","data":"1"}`)
			r.publish(`{"name":"n","channel":"c","data":"2"}`)
			more := ""
			if operation == "purge" {
				more = `,"mode":"all"`
			}
			if a, said := r.erase(operation, more); a.Status != http.StatusOK || said["purged_messages"] != 2.0 {
				t.Errorf("off %s, %s: %d %s", name, operation, a.Status, a.Body)
			}
			r.call(http.MethodGet, "app", "/channels/c/history", nil).refused(t, name, http.StatusUnprocessableEntity, "feature_disabled", "history")
		}
	}
}
