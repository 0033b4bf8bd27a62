package rest

import (
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// What is accepted keeps all limits; what is refused has an error that a publisher
// can read.
func FuzzEventBody(f *testing.F) {
	for _, body := range []string{
		`{"name":"n","channel":"c","data":"d"}`,
		`{"name":"n","channels":["a","b"],"data":{"x":1},"socket_id":"1.2","info":"user_count","tags":{"a":"b"},"delta":true}`,
		`{"name":"n","channel":"c","data":"d","message_id":"m","idempotency_key":"k","extras":{"headers":{"a":1},"ephemeral":false}}`,
		`{"name":"\ud800","channel":"c","data":"\u0000"}`,
		`null`, `[]`, "\xff", ``,
	} {
		f.Add([]byte(body))
	}
	a := &app.App{ID: "app", Key: "key", Secret: "secret", Enabled: true, Limits: app.DefaultLimits}
	f.Fuzz(func(t *testing.T, body []byte) {
		var in input
		err := decode(body, &in)
		var got *accepted
		if err == nil {
			got, err = in.accept("", a, "")
		}
		if err != nil {
			var f *failure
			if !errors.As(err, &f) || f.Message == "" || f.Status < 400 || f.Status >= 500 {
				t.Fatalf("%q is refused with %v", body, err)
			}
			return
		}
		ev := got.event
		if ev.Name == "" || len(ev.Name) > 200 || len(ev.Data) > a.Limits.MaxEventPayload || len(got.channels) == 0 || len(got.channels) > 100 {
			t.Fatalf("%q is accepted as %+v on %q", body, ev, got.channels)
		}
		if !utf8.Valid(ev.Data) || !utf8.ValidString(ev.Name) || len(ev.MessageID) > 128 || len(ev.DedupID) > 128 || len(ev.Tags) > 32 {
			t.Fatalf("%q is accepted as %+v", body, ev)
		}
		for _, c := range got.channels {
			if err := pusher.CheckChannel(c, 200); err != nil {
				t.Fatalf("%q is accepted on a channel that is none: %v", body, err)
			}
		}
	})
}
