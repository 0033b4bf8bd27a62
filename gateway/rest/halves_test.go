package rest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
)

// TestWayIn03HalvesOfSurrogatePairs: a JSON string may contain half of a surrogate pair, which UTF-8 cannot
// represent. It becomes U+FFFD wherever a string is decoded, as with encoding/json and in browsers. Data that
// is passed on undecoded keeps its bytes.
func TestWayIn03HalvesOfSurrogatePairs(t *testing.T) {
	a := &app.App{ID: "app", Limits: app.DefaultLimits}
	for written, want := range map[string]string{
		`"\ud83d\ude00"`:                  "😀",
		`"\uD83D\uDE00"`:                  "😀",
		`"\ud800"`:                        "\ufffd",
		`"\udfff"`:                        "\ufffd",
		`"cut off \ud83d"`:                "cut off \ufffd",
		`"\ude00\ud83d"`:                  "\ufffd\ufffd",
		`"\ud83d\ud83d\ude00"`:            "\ufffd😀",
		`"\ud83d\u0041"`:                  "\ufffdA",
		`"\ud83d\\ude00"`:                 "\ufffd\\ude00",
		`"\ud83d\n"`:                      "\ufffd\n",
		`"\ufffd"`:                        "\ufffd",
		`"\u0000\u001f\u007f\u2028"`:      "\x00\x1f\x7f\u2028",
		`"{\"x\":\"\\ud800\"}"`:           `{"x":"\ud800"}`,
		`"{\"x\":\"\\ud83d\\ude00\"}"`:    `{"x":"\ud83d\ude00"}`,
		`{"x":"\ud800"}`:                  `{"x":"\ud800"}`,
		`[ "\ud83d" , "\u00e9\/" , 1.50]`: `[ "\ud83d" , "\u00e9\/" , 1.50]`,
	} {
		body := fmt.Appendf(nil, `{"name":"n","channel":"c","data":%s}`, written)
		got, err := compare(t, a, body)
		if err != nil || string(got.event.Data) != want {
			t.Errorf("data %s: %q, %v, want %q", written, got.event.Data, err, want)
		}
		if written[0] != '"' {
			continue
		}
		body = fmt.Appendf(nil, `{"name":%[1]s,"channel":"c","data":"d","message_id":%[1]s,"tags":{%[1]s:%[1]s},"conflation_key":%[1]s}`, written)
		got, err = compare(t, a, body)
		if err != nil || got.event.Name != want || got.event.MessageID != want || got.event.Tags[want] != want || got.event.ConflationKey != want {
			t.Errorf("%s as a name: %+v, %v, want %q", written, got.event, err, want)
		}
	}
}

// TestWayIn03EventsKeepNoMuchLargerBody: an event that is kept for a while keeps alive at most a few times
// its own size.
func TestWayIn03EventsKeepNoMuchLargerBody(t *testing.T) {
	a := &app.App{ID: "app", Limits: app.DefaultLimits}
	inside := func(body, part []byte) bool {
		at, p := uintptr(unsafe.Pointer(unsafe.SliceData(body))), uintptr(unsafe.Pointer(unsafe.SliceData(part)))
		return len(part) > 0 && p >= at && p < at+uintptr(len(body))
	}
	for _, c := range []struct {
		data, other int
		apart       bool
	}{{1, 10, false}, {1, 2 * spareBody, true}, {1000, spareBody, false}, {1000, 100_000, true}, {10_000, 30_000, false}, {10_000, 1_000_000, true}} {
		data := strings.Repeat("x", c.data)
		body := fmt.Appendf(nil, `{"name":"n","channel":"c","data":"%s","extras":{"headers":{"a":"b"}},"other":"%s"}`, data, strings.Repeat("y", c.other))
		var in input
		if err := decodeEvent(body, &a.Limits, &in); err != nil {
			t.Fatal(err)
		}
		all := make([]accepted, 1)
		if err := in.accept("", a, "", &all[0]); err != nil {
			t.Fatal(err)
		}
		before := *all[0].event
		detach(len(body), 1, all[0].event)
		ev := all[0].event
		if inside(body, ev.Data) == c.apart || c.apart && inside(body, ev.Extras) {
			t.Errorf("%+v: data in the body %v, extras %v", c, inside(body, ev.Data), inside(body, ev.Extras))
		}
		if !bytes.Equal(ev.Data, before.Data) || !bytes.Equal(ev.Extras, before.Extras) || (ev.Extras == nil) != (before.Extras == nil) {
			t.Errorf("%+v: the event has become another one", c)
		}
	}
	// In a batch each event is considered by itself.
	body := append(bytes.Repeat([]byte("x"), 100_000), 'y')
	large, small := &broker.Event{Data: body[:100_000]}, &broker.Event{Data: body[100_000:]}
	for _, ev := range []*broker.Event{large, small} {
		detach(len(body), 2, ev)
	}
	if !inside(body, large.Data) || inside(body, small.Data) || string(small.Data) != "y" {
		t.Error("a small event keeps its large neighbour")
	}
	var none broker.Event
	if detach(1<<20, 1, &none); none.Data != nil || none.Extras != nil {
		t.Error("what is not there is there")
	}
}
