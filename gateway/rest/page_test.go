package rest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/rest"
)

// attachedPage is a page as a subscriber gets it.
type attachedPage struct {
	Items []struct {
		Serial uint64 `json:"serial"`
	} `json:"items"`
	Limit   int     `json:"limit"`
	HasMore bool    `json:"has_more"`
	Cursor  *string `json:"next_cursor"`
	Bounds  struct {
		Start  *uint64 `json:"start_serial"`
		End    *uint64 `json:"end_serial"`
		Attach *uint64 `json:"attach_serial"`
	} `json:"bounds"`
	Continuity struct {
		Newest *uint64 `json:"newest_available_serial"`
	} `json:"continuity"`
}

// page requests a page as a connection does; data is the data of its request.
func (r *rig) page(data string, more rest.Asked) (attachedPage, int, error) {
	r.t.Helper()
	h, err := pusher.ParseChannelHistory(data)
	if err != nil {
		return attachedPage{}, 0, err
	}
	more.ChannelHistory, more.App = h, r.app
	if more.MaxBytes == 0 {
		more.MaxBytes = 1 << 20
	}
	body, err := r.api.Page(r.t.Context(), more)
	var p attachedPage
	if err == nil {
		if err := json.Unmarshal(body, &p); err != nil {
			r.t.Fatalf("%s: %v", body, err)
		}
	}
	return p, len(body), err
}

// at returns a position in the present epoch of the channel.
func (r *rig) at(offset uint64) broker.Position {
	return broker.Position{Epoch: r.state("c").Stream.ID, Offset: offset}
}

func (p attachedPage) serials() (all []uint64) {
	for _, i := range p.Items {
		all = append(all, i.Serial)
	}
	return all
}

// TestHI09InputIsTakenOrRefused: a subscriber may put parameters at either level of its request, and a value
// of a wrong kind is refused.
func TestHI09InputIsTakenOrRefused(t *testing.T) {
	r := newRig(t, nil)
	r.fill(10)
	at := rest.Asked{Attach: r.at(6), Told: 6}
	for data, want := range map[string][]uint64{
		`{"channel":"c","params":{"limit":2},"until_attach":true}`:                                                      {6, 5},
		`{"params":{"channel":"c","limit":2,"until_attach":true}}`:                                                      {6, 5},
		`{"channel":"c","params":{"channel":"c","limit":2}}`:                                                            {10, 9},
		`{"channel":"c","limit":2,"params":{"until_attach":true}}`:                                                      {6, 5},
		`{"channel":"c","params":{"limit":2},"untilAttach":true}`:                                                       {6, 5},
		`{"channel":"c","params":{},"limit":2,"direction":"forwards"}`:                                                  {1, 2},
		`{"channel":"c","params":{"direction":"forwards"},"limit":2,"start_serial":9}`:                                  {9, 10},
		`{"channel":"c","params":{"limit":2.0},"limit":2,"end_serial":4e0,"start_time_ms":1.0}`:                         {4, 3},
		`{"channel":"c","params":{"limit":2},"limit":2,"end_serial":4}`:                                                 {4, 3},
		`{"channel":"c","params":null,"limit":2,"until_attach":null}`:                                                   {10, 9},
		`{"channel":"c","until_attach":true,"end_serial":3,"limit":2}`:                                                  {3, 2},
		`{"channel":"c","until_attach":true,"end_serial":9,"limit":2}`:                                                  {6, 5},
		`{"channel":"c","until_attach":true,"end_serial":0,"limit":1}`:                                                  {6},
		`{"channel":"c","until_attach":true,"start_serial":6}`:                                                          {6},
		`{"channel":"c","until_attach":true,"start_serial":7}`:                                                          nil,
		`{"channel":"c","until_attach":true,"start_serial":7,"direction":"forwards"}`:                                   nil,
		`{"channel":"c","until_attach":true,"start_serial":8,"end_serial":9}`:                                           nil,
		`{"channel":"c","until_attach":false,"start_serial":8,"end_serial":9,"params":{"limit":100000000000000000000}}`: {9, 8},
	} {
		got, _, err := r.page(data, at)
		if err != nil || fmt.Sprint(got.serials()) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, %v, want %v", data, got.serials(), err, want)
		}
		if got.Continuity.Newest == nil || *got.Continuity.Newest != 10 {
			t.Errorf("%s: the page does not say what there is: %+v", data, got)
		}
		if strings.Contains(data, "ttach\":true") && (got.Bounds.Attach == nil || *got.Bounds.Attach != 6 || got.Bounds.End == nil || *got.Bounds.End > 6) {
			t.Errorf("%s: the bounds are %+v", data, got.Bounds)
		}
	}
	for data, want := range map[string]string{
		`{"channel":"c","until_attach":true,"end_serial":"abc"}`:                    "end_serial",
		`{"channel":"c","until_attach":true,"end_serial":-1}`:                       "end_serial",
		`{"channel":"c","until_attach":true,"end_serial":1e-3}`:                     "end_serial",
		`{"channel":"c","until_attach":true,"end_serial":2.5}`:                      "end_serial",
		`{"channel":"c","until_attach":true,"start_serial":"x"}`:                    "start_serial",
		`{"channel":"c","until_attach":true,"start_serial":5,"end_serial":4}`:       "start_serial is above end_serial",
		`{"channel":"c","until_attach":"true"}`:                                     "until_attach is not true or false",
		`{"channel":"c","params":{"limit":5},"until_attach":1}`:                     "until_attach is not true or false",
		`{"channel":"c","params":{"limit":5},"limit":6}`:                            "limit has two values",
		`{"channel":"c","params":{"until_attach":true},"until_attach":false}`:       "until_attach has two values",
		`{"channel":"c","until_attach":true,"untilAttach":false}`:                   "has two values",
		`{"channel":"c","start":1,"start_time_ms":2}`:                               "has two values",
		`{"channel":"c","params":{"end":1},"end_time_ms":2}`:                        "has two values",
		`{"channel":"c","params":{"channel":"d"}}`:                                  "channel has two values",
		`{"params":{"limit":5}}`:                                                    "channel is missing",
		`{"channel":"c","params":[]}`:                                               "params is not an object",
		`{"channel":"c","params":{"limit":true}}`:                                   "limit is neither a number nor a text",
		`{"channel":"c","params":{"direction":"forwards"},"limit":{}}`:              "limit is neither a number nor a text",
		`{"channel":"c","params":{"direction":"forwards"},"cursor":"not a cursor"}`: "cursor",
		`{"channel":"c","limit":-5}`:                                                "limit",
		`{"channel":"c","limit":-100000000000000000000}`:                            "limit",
	} {
		if got, _, err := r.page(data, at); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v, want an error about %s", data, got.serials(), err, want)
		}
	}
	// The same over HTTP.
	for query, want := range map[string]string{"start=1&start_time_ms=2": "two values", "end=5&end_time_ms=6": "two values", "end_serial=abc": "end_serial", "limit=-1": "limit"} {
		if _, a := r.history("?" + query); a.Status != 400 || !strings.Contains(string(a.Body), want) {
			t.Errorf("%s: %d %s", query, a.Status, a.Body)
		}
	}
}

// TestHI09AnEmptyChannelUntilAttach: a subscription to an empty channel was told serial 0, and the bounds of
// a page say so, whatever its position in the log.
func TestHI09AnEmptyChannelUntilAttach(t *testing.T) {
	r := newRig(t, nil)
	r.fill(10)
	for _, at := range []rest.Asked{{Attach: r.at(0), Told: 0}, {Attach: r.at(6), Told: 0}} {
		got, _, err := r.page(`{"channel":"c","until_attach":true,"start_serial":7}`, at)
		if err != nil || len(got.Items) > 0 || got.Bounds.Attach == nil || *got.Bounds.Attach != 0 || got.Bounds.End == nil || *got.Bounds.End != 0 {
			t.Errorf("attached at %d: got %+v, %v", at.Attach.Offset, got, err)
		}
	}
	if got, _, err := r.page(`{"channel":"c","until_attach":true}`, rest.Asked{Attach: r.at(0)}); err != nil || len(got.Items) > 0 || got.HasMore {
		t.Errorf("attached before everything: got %+v, %v", got, err)
	}
}

// TestHI04APageOfASubscriberHasAHundred: without a limit a subscriber gets a hundred events, or the page size
// of the app if that is less. Over HTTP it is the page size.
func TestHI04APageOfASubscriberHasAHundred(t *testing.T) {
	r := newRig(t, nil)
	r.fill(130)
	for most, want := range map[int]int{1000: 100, 100: 100, 30: 30} {
		r.app.Limits.MaxHistoryPage = most
		for _, params := range []string{``, `,"limit":null`, `,"params":{}`} {
			got, _, err := r.page(`{"channel":"c"`+params+`}`, rest.Asked{})
			if err != nil || len(got.Items) != want || got.Limit != want || !got.HasMore {
				t.Errorf("%d per page, %s: got %d, limit %d, %v, want %d", most, params, len(got.Items), got.Limit, err, want)
			}
		}
		if got, _, err := r.page(`{"channel":"c","limit":120}`, rest.Asked{}); err != nil || len(got.Items) != min(most, 120) {
			t.Errorf("%d per page, 120 asked for: got %d, %v", most, len(got.Items), err)
		}
		if l, _ := r.history(""); len(l.Items) != min(most, 130) {
			t.Errorf("%d per page over HTTP: got %d", most, len(l.Items))
		}
	}
}

// TestHI10PagesAreBoundedByAllThatTheyCarry: a page is sent in a frame, so extras and tags of its events
// count in its size.
func TestHI10PagesAreBoundedByAllThatTheyCarry(t *testing.T) {
	tags := map[string]string{}
	for i := range 32 {
		tags[fmt.Sprintf("tag-%d", i)] = strings.Repeat("v", 1000)
	}
	for name, ev := range map[string]broker.Event{
		"data":                       {Data: []byte(strings.Repeat("d", 15000))},
		"extras":                     {Data: []byte("1"), Extras: []byte(`{"headers":{"a":"` + strings.Repeat("x", 15000) + `"}}`)},
		"tags":                       {Data: []byte("1"), Tags: tags},
		"data of which much escapes": {Data: []byte(strings.Repeat(`"`, 15000))},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			ev.Name = "e"
			for range 50 {
				if _, err := r.log.Publish(t.Context(), "app", broker.Outgoing{Channel: "c", Event: &ev}); err != nil {
					t.Fatal(err)
				}
			}
			const most = 256 << 10
			data, seen := `{"channel":"c"}`, 0
			for {
				got, size, err := r.page(data, rest.Asked{MaxBytes: most})
				if err != nil || len(got.Items) == 0 || size > most+2048 {
					t.Fatalf("a page of %d events has %d bytes, %v", len(got.Items), size, err)
				}
				if seen += len(got.Items); !got.HasMore {
					break
				}
				data = fmt.Sprintf(`{"channel":"c","cursor":%q}`, *got.Cursor)
			}
			if seen != 50 {
				t.Errorf("%d events came, page by page, want 50", seen)
			}
			if got, _, err := r.page(`{"channel":"c"}`, rest.Asked{MaxBytes: 10}); err != nil || len(got.Items) != 1 || !got.HasMore {
				t.Errorf("where there is no room: %d events, %v", len(got.Items), err)
			}
		})
	}
}

// TestTF12APageForASubscriberHasTagsWhereItsEventsHave: the settings of the app and of a pattern decide. The
// signed history always has tags, so that an export can be published again unchanged.
func TestTF12APageForASubscriberHasTagsWhereItsEventsHave(t *testing.T) {
	for name, c := range map[string]struct {
		own, want bool
		patterns  []app.Pattern
	}{
		"on":                 {own: true, want: true},
		"off":                {},
		"off for a pattern":  {own: true, patterns: []app.Pattern{{Match: "c", Delta: app.Delta{}}}},
		"on for the pattern": {patterns: []app.Pattern{{Match: "c", Delta: app.Delta{DeliverTags: true}}}, want: true},
	} {
		r := newRig(t, func(o *rest.Options) {
			a := o.Apps.ByID("app")
			a.Delta.DeliverTags, a.Patterns = c.own, c.patterns
		})
		if a := r.publish(`{"name":"e","channel":"c","data":"1","tags":{"secret":"x"}}`); a.Status != 200 {
			t.Fatalf("%s: %d: %s", name, a.Status, a.Body)
		}
		h, err := pusher.ParseChannelHistory(`{"channel":"c"}`)
		if err != nil {
			t.Fatal(err)
		}
		body, err := r.api.Page(t.Context(), rest.Asked{ChannelHistory: h, App: r.app, MaxBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(body), `"tags":{"secret":"x"}`); got != c.want {
			t.Errorf("%s: the page has tags: %t, want %t: %s", name, got, c.want, body)
		}
		if a := r.call("GET", "app", "/channels/c/history", nil); !strings.Contains(string(a.Body), `"tags":{"secret":"x"}`) {
			t.Errorf("%s: the signed history is %s", name, a.Body)
		}
	}
}
