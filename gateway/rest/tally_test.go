package rest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway/rest"
)

func TestEV11_PublishAnswersTheNumbersThatItIsAskedFor(t *testing.T) {
	r := newRig(t, withCensus(someone()))
	publish := func(channels, info string) answer {
		return r.publish(fmt.Sprintf(`{"name":"n","channels":%s,"data":"d","info":%q}`, channels, info))
	}
	for _, c := range []struct{ channels, info, want string }{
		{`["presence-room","orders"]`, "user_count,subscription_count",
			`{"channels":{"orders":{"subscription_count":2},"presence-room":{"subscription_count":3,"user_count":2}}}`},
		{`["presence-room","orders"]`, "user_count", `{"channels":{"orders":{},"presence-room":{"user_count":2}}}`},
		{`["presence-room"]`, "subscription_count", `{"channels":{"presence-room":{"subscription_count":3}}}`},
		{`["presence-nobody"]`, " user_count , subscription_count ", `{"channels":{"presence-nobody":{"subscription_count":0,"user_count":0}}}`},
		{`["orders","orders"]`, "subscription_count", `{"channels":{"orders":{"subscription_count":2}}}`},
		{`["orders"]`, "", `{}`},
	} {
		publish(c.channels, c.info).says(t, c.channels+" "+c.info, c.want)
	}
	publish(`["cache-price"]`, "cache").refused(t, "cache is not for publishers", http.StatusBadRequest, "invalid_input", "info")
}

func TestEV15_ABatchAnswersInTheOrderOfTheRequest(t *testing.T) {
	census := someone()
	r := newRig(t, withCensus(census))
	batch := func(items ...string) answer {
		return r.call(http.MethodPost, "app", "/batch_events", []byte(`{"batch":[`+strings.Join(items, ",")+`]}`))
	}
	item := func(channel, info string) string {
		return fmt.Sprintf(`{"name":"n","channel":%q,"data":"d","info":%q}`, channel, info)
	}
	batch(
		item("orders", "subscription_count"), item("presence-room", ""), item("presence-room", "user_count"),
		item("orders", "user_count"), item("orders", "subscription_count"),
	).says(t, "with info", `{"batch":[{"subscription_count":2},{},{"user_count":2},{},{"subscription_count":2}]}`)
	if census.asked != 2 {
		t.Errorf("the census was asked %d times about two channels", census.asked)
	}
	batch(item("orders", ""), item("orders", "")).says(t, "without info", `{}`)
}

// TestAPublishThatIsStoredIsGoodWithoutTheCensus: a publisher publishes again after a failure, so an error
// after the events are stored must not look like one.
func TestAPublishThatIsStoredIsGoodWithoutTheCensus(t *testing.T) {
	var logged bytes.Buffer
	census := &crowd{err: errOutage}
	for name, change := range map[string]func(*rest.Options){
		"a census that fails": func(o *rest.Options) {
			o.Census, o.Logger = census, slog.New(slog.NewTextHandler(&logged, nil))
		},
		"no census": nil,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, change)
			r.publish(`{"name":"n","channels":["orders","presence-room","presence-hall"],"data":"d","info":"subscription_count"}`).
				says(t, "event", `{"channels":{"orders":{},"presence-hall":{},"presence-room":{}}}`)
			one := `{"name":"n","channel":"orders","data":"d","info":"subscription_count"}`
			r.call(http.MethodPost, "app", "/batch_events", []byte(`{"batch":[`+one+`,`+one+`]}`)).says(t, "batch", `{"batch":[{},{}]}`)
			if n := len(r.stored("app", "orders")); n != 3 {
				t.Errorf("%d events were stored, want 3", n)
			}
		})
	}
	if census.asked != 2 {
		t.Errorf("a census that failed was asked %d times by two publishes", census.asked)
	}
	if n := strings.Count(logged.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want one for both publishes:\n%s", n, &logged)
	}
}

// TestRun07APublishIsToldItsPlace: a publisher that requests positions gets those of its event in the log of
// each channel, and whether the event was a duplicate.
func TestRun07APublishIsToldItsPlace(t *testing.T) {
	r := newRig(t, withCensus(someone()))
	type stored struct {
		Serial        uint64
		StreamID      string `json:"stream_id"`
		Duplicate     *bool
		Subscriptions *int `json:"subscription_count"`
	}
	ask := func(what, path, body string, into any) {
		t.Helper()
		got := r.call(http.MethodPost, "app", path, []byte(body))
		if got.Status != http.StatusOK || json.Unmarshal(got.Body, into) != nil {
			t.Fatalf("%s: %d %s", what, got.Status, got.Body)
		}
	}
	var first, again struct{ Channels map[string]stored }
	const body = `{"name":"n","channels":["b","a","b"],"data":"d","info":"position,subscription_count","idempotency_key":"k"}`
	ask("an event", "/events", body, &first)
	ask("the same again", "/events", body, &again)
	for channel, was := range first.Channels {
		is := again.Channels[channel]
		if was.Serial == 0 || was.StreamID == "" || was.Duplicate == nil || *was.Duplicate || was.Subscriptions == nil || is.Serial != was.Serial || is.Duplicate == nil || !*is.Duplicate {
			t.Errorf("%s: %+v, then %+v", channel, was, is)
		}
	}
	if len(first.Channels) != 2 {
		t.Errorf("channels: %+v", first)
	}
	var batch struct{ Batch []stored }
	ask("a batch", "/batch_events", `{"batch":[{"name":"n","channel":"a","data":"1","info":"position"},{"name":"n","channel":"a","data":"2"},{"name":"n","channel":"a","data":"3","info":["position"]}]}`, &batch)
	if b := batch.Batch; len(b) != 3 || b[0].Serial <= first.Channels["a"].Serial || b[1].Serial != 0 || b[2].Serial <= b[0].Serial {
		t.Errorf("the batch: %+v", batch)
	}
	r.call(http.MethodGet, "app", "/channels?info=position", nil).refused(t, "a query", http.StatusBadRequest, "invalid_input", "position")
}
