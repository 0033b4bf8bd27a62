package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/rest"
)

// again signs a changed request again.
func again(q url.Values, secret, method, path string) {
	q.Del("auth_signature")
	q.Set("auth_signature", pusher.SignRequest(secret, method, path, q))
}

func TestSignatures(t *testing.T) {
	now := time.Now()
	r := newRig(t, func(o *rest.Options) { o.Now = func() time.Time { return now } })
	const body = `{"name":"n","channel":"c","data":"d"}`
	const path = "/apps/app/events"
	post := func(q url.Values) { again(q, "app-secret", http.MethodPost, path) }
	if a := r.publish(body); a.Status != http.StatusOK || string(a.Body) != "{}" {
		t.Fatalf("EV-10: a good request got %d %s", a.Status, a.Body)
	}
	for name, c := range map[string]struct {
		change func(url.Values, http.Header)
		names  string
	}{
		"no signature":              {func(q url.Values, _ http.Header) { q.Del("auth_signature") }, "auth_signature"},
		"nothing":                   {func(q url.Values, _ http.Header) { clear(q) }, "auth_key"},
		"wrong signature":           {func(q url.Values, _ http.Header) { q.Set("auth_signature", strings.Repeat("0", 64)) }, "auth_signature"},
		"signature of other secret": {func(q url.Values, _ http.Header) { again(q, "other-secret", http.MethodPost, path) }, "auth_signature"},
		"signature of other path":   {func(q url.Values, _ http.Header) { again(q, "app-secret", http.MethodPost, path+"/x") }, "auth_signature"},
		"signature of other method": {func(q url.Values, _ http.Header) { again(q, "app-secret", http.MethodGet, path) }, "auth_signature"},
		"other key":                 {func(q url.Values, _ http.Header) { q.Set("auth_key", "other-key"); post(q) }, "auth_key"},
		"wrong version":             {func(q url.Values, _ http.Header) { q.Set("auth_version", "2.0"); post(q) }, "auth_version"},
		"time not a number":         {func(q url.Values, _ http.Header) { q.Set("auth_timestamp", "now"); post(q) }, "auth_timestamp"},
		"601 seconds ago": {func(q url.Values, _ http.Header) {
			q.Set("auth_timestamp", strconv.FormatInt(now.Unix()-601, 10))
			post(q)
		}, "auth_timestamp"},
		"601 seconds ahead": {func(q url.Values, _ http.Header) {
			q.Set("auth_timestamp", strconv.FormatInt(now.Unix()+601, 10))
			post(q)
		}, "auth_timestamp"},
		"wrong body_md5": {func(q url.Values, _ http.Header) { q.Set("body_md5", strings.Repeat("0", 32)); post(q) }, "body_md5"},
		"no body_md5":    {func(q url.Values, _ http.Header) { q.Del("body_md5"); post(q) }, "body_md5"},
	} {
		t.Run(name, func(t *testing.T) {
			a := r.publish(body, c.change)
			if a.Status != http.StatusUnauthorized || a.Code != "auth_failed" || !strings.Contains(a.Error, c.names) {
				t.Errorf("got %d %s, want a 401 about %s", a.Status, a.Body, c.names)
			}
		})
	}
	t.Run("an unknown app looks like a wrong key", func(t *testing.T) {
		a := r.call(http.MethodPost, "nobody", "/events", []byte(body))
		if a.Status != http.StatusUnauthorized {
			t.Errorf("got %d %s", a.Status, a.Body)
		}
	})
	t.Run("a disabled app is a 403", func(t *testing.T) {
		if a := r.call(http.MethodPost, "off", "/events", []byte(body)); a.Status != http.StatusForbidden {
			t.Errorf("got %d %s", a.Status, a.Body)
		}
	})
	if n := len(r.stored("app", "c")); n != 1 {
		t.Errorf("%d events were stored, want the one with a good signature", n)
	}
}

func TestWhatIsPublishedIsStored(t *testing.T) {
	r := newRig(t, nil)
	a := r.publish(`{"name":"price","channels":["a","b","a"],"data":{"x": 1.50},"socket_id":"12.34","tags":{"k":"v"},"delta":false,"message_id":"m1"}`)
	if a.Status != http.StatusOK {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	for _, c := range []string{"a", "b"} {
		got := r.stored("app", c)
		if len(got) != 1 {
			t.Fatalf("%d events on %s, want 1", len(got), c)
		}
		p := got[0]
		if p.Name != "price" || string(p.Data) != `{"x": 1.50}` || p.ExcludeSocket != "12.34" || p.Tags["k"] != "v" ||
			p.Delta != broker.DeltaNever || p.MessageID != "m1" || p.Origin != broker.OriginHTTP {
			t.Errorf("stored on %s: %+v", c, p)
		}
	}
	batch := r.call(http.MethodPost, "app", "/batch_events",
		[]byte(`{"batch":[{"name":"n1","channel":"z","data":"1"},{"name":"n2","channel":"z","data":"2","info":"user_count"},{"name":"n3","channel":"z","data":"3"}]}`))
	var said struct{ Batch []map[string]any }
	if batch.Status != http.StatusOK || json.Unmarshal(batch.Body, &said) != nil || len(said.Batch) != 3 {
		t.Errorf("EV-15: got %d %s", batch.Status, batch.Body)
	}
	var order []string
	for _, p := range r.stored("app", "z") {
		order = append(order, p.Name+string(p.Data))
	}
	if got := strings.Join(order, " "); got != "n11 n22 n33" {
		t.Errorf("EV-14: stored %q", got)
	}
}

func TestPublishingNonsense(t *testing.T) {
	r := newRig(t, nil)
	long := strings.Repeat("x", 201)
	hundred := strings.TrimSuffix(strings.Repeat(`"c",`, 101), ",")
	ev := func(rest string) string { return `{"name":"n","channel":"c","data":"d",` + rest + `}` }
	for name, c := range map[string]struct {
		body, says string
		status     int
	}{
		"no body":                    {``, "JSON", 400},
		"garbage":                    {"\x00\x01garbage", "JSON", 400},
		"a list":                     {`[]`, "JSON", 400},
		"null":                       {`null`, "name", 400},
		"cut":                        {`{"name":"n","channel":"c","data":"d"`, "JSON", 400},
		"two values":                 {`{"name":"n","channel":"c","data":"d"}{}`, "JSON", 400},
		"deep":                       {strings.Repeat("[", 20000), "JSON", 400},
		"DS-41 data is not UTF-8":    {"{\"name\":\"n\",\"channel\":\"c\",\"data\":\"\xff\"}", "UTF-8", 400},
		"no name":                    {`{"channel":"c","data":"d"}`, "name", 400},
		"name is a number":           {`{"name":1,"channel":"c","data":"d"}`, "name", 400},
		"EV-09 name of 201 bytes":    {`{"name":"` + long + `","channel":"c","data":"d"}`, "200", 400},
		"no channel":                 {`{"name":"n","data":"d"}`, "channel", 400},
		"no channels":                {`{"name":"n","channels":[],"data":"d"}`, "channel", 400},
		"101 channels":               {`{"name":"n","channels":[` + hundred + `],"data":"d"}`, "100", 400},
		"a channel of 201 bytes":     {`{"name":"n","channel":"` + long + `","data":"d"}`, "200", 400},
		"channel *":                  {`{"name":"n","channel":"*","data":"d"}`, "channel", 400},
		"channel >":                  {`{"name":"n","channel":">","data":"d"}`, "channel", 400},
		"channel with a space":       {`{"name":"n","channel":"a b","data":"d"}`, "channel", 400},
		"empty channel in the list":  {`{"name":"n","channels":["c",""],"data":"d"}`, "channel", 400},
		"no data":                    {`{"name":"n","channel":"c"}`, "data", 400},
		"data of 10,241 bytes":       {`{"name":"n","channel":"c","data":"` + strings.Repeat("x", 10241) + `"}`, "10240", 413},
		"socket_id is none":          {ev(`"socket_id":"abc"`), "socket_id", 400},
		"TF-13 tags with a number":   {ev(`"tags":{"a":1}`), "tags", 400},
		"tags with null":             {ev(`"tags":{"a":null}`), "tags", 400},
		"TF-13 a tag of 1025 bytes":  {ev(`"tags":{"a":"` + strings.Repeat("x", 1025) + `"}`), "1024", 400},
		"delta is a string":          {ev(`"delta":"yes"`), "delta", 400},
		"message_id of 129 bytes":    {ev(`"message_id":"` + strings.Repeat("x", 129) + `"`), "128", 400},
		"info of nothing known":      {ev(`"info":"weather"`), "info", 400},
		"ID-05 key of 129 bytes":     {ev(`"idempotency_key":"` + strings.Repeat("x", 129) + `"`), "128", 400},
		"an empty idempotency key":   {ev(`"idempotency_key":""`), "idempotency_key", 400},
		"a body larger than allowed": {`{"name":"n","channel":"c","data":"` + strings.Repeat("x", 1<<20) + `"}`, "1048576", 413},
	} {
		t.Run(name, func(t *testing.T) {
			a := r.publish(c.body)
			if a.Status != c.status || !strings.Contains(a.Error, c.says) || a.Code == "" {
				t.Errorf("got %d %s, want a %d that names %q", a.Status, a.Body, c.status, c.says)
			}
		})
	}
	item := `{"name":"n","channel":"c","data":"d"}`
	for name, c := range map[string]struct{ body, says string }{
		"EV-13 eleven events":     {`{"batch":[` + strings.TrimSuffix(strings.Repeat(item+",", 11), ",") + `]}`, "10"},
		"EV-13 one bad of three":  {`{"batch":[` + item + `,{"name":"","channel":"c","data":"d"},` + item + `]}`, "batch[1]"},
		"several channels in one": {`{"batch":[{"name":"n","channels":["c"],"data":"d"}]}`, "batch[0]"},
		"empty":                   {`{"batch":[]}`, "batch"},
		"missing":                 {`{}`, "batch"},
	} {
		t.Run(name, func(t *testing.T) {
			a := r.call(http.MethodPost, "app", "/batch_events", []byte(c.body))
			if a.Status != http.StatusBadRequest || !strings.Contains(a.Error, c.says) {
				t.Errorf("got %d %s, want a 400 that names %q", a.Status, a.Body, c.says)
			}
		})
	}
	if n := len(r.stored("app", "c")); n != 0 {
		t.Errorf("%d refused events were stored", n)
	}
	if a := r.call(http.MethodGet, "app", "/events", nil); a.Status != http.StatusMethodNotAllowed || a.Header.Get("Allow") != http.MethodPost {
		t.Errorf("GET got %d", a.Status)
	}
	if a := r.call(http.MethodPost, "app", "/nothing", []byte(`{}`)); a.Status != http.StatusNotFound {
		t.Errorf("an unknown path got %d", a.Status)
	}
}

func TestEV13_ABatchOfTenIsAccepted(t *testing.T) {
	r := newRig(t, nil)
	item := `{"name":"n","channel":"c","data":"d"},`
	a := r.call(http.MethodPost, "app", "/batch_events", []byte(`{"batch":[`+strings.TrimSuffix(strings.Repeat(item, 10), ",")+`]}`))
	if a.Status != http.StatusOK || len(r.stored("app", "c")) != 10 {
		t.Errorf("got %d %s with %d stored", a.Status, a.Body, len(r.stored("app", "c")))
	}
}

func TestIdempotencyKeys(t *testing.T) {
	r := newRig(t, nil)
	keyed := func(channel, key string) string {
		return fmt.Sprintf(`{"name":"n","channel":%q,"data":"d","idempotency_key":%q}`, channel, key)
	}
	var posting sync.WaitGroup
	for range 10 {
		posting.Go(func() {
			if a := r.publish(keyed("once", "k")); a.Status != http.StatusOK {
				t.Errorf("got %d %s", a.Status, a.Body)
			}
		})
	}
	posting.Wait()
	if n := len(r.stored("app", "once")); n != 1 {
		t.Errorf("ID-01 ID-02: %d stored, want 1", n)
	}
	header := func(_ url.Values, h http.Header) { h.Set("X-Idempotency-Key", "from the header") }
	r.publish(`{"name":"n","channel":"header","data":"d"}`, header)
	r.publish(`{"name":"n","channel":"header","data":"d"}`, header)
	if n := len(r.stored("app", "header")); n != 1 {
		t.Errorf("ID-01: %d stored by header, want 1", n)
	}
	r.publish(keyed("both", "body-1"), header)
	r.publish(keyed("both", "body-2"), header)
	if n := len(r.stored("app", "both")); n != 2 {
		t.Errorf("ID-04: %d stored, want 2, because the body's key wins", n)
	}
	batch := func(events ...string) {
		t.Helper()
		body := `{"batch":[` + strings.Join(events, ",") + `]}`
		if a := r.call(http.MethodPost, "app", "/batch_events", []byte(body), header); a.Status != http.StatusOK {
			t.Errorf("%s: got %d %s", body, a.Status, a.Body)
		}
	}
	// With a header the key covers the whole batch: equal events of one batch are several events, and those
	// of a repeated batch are duplicates.
	one := `{"name":"n","channel":"batch","data":"d"}`
	batch(one, one, one)
	batch(one, one, one)
	if n := len(r.stored("app", "batch")); n != 3 {
		t.Errorf("ID-04: %d stored of a batch with a header, want 3", n)
	}
	// An event's own key means the same at any place, in a batch or not.
	batch(keyed("moved", "k"), keyed("moved", "l"))
	batch(keyed("moved", "l"), one, keyed("moved", "k"))
	r.publish(keyed("moved", "l"))
	if n := len(r.stored("app", "moved")); n != 2 {
		t.Errorf("ID-04: %d stored for two keys, want 2", n)
	}
	r.call(http.MethodPost, "other", "/events", []byte(keyed("once", "k")))
	if n := len(r.stored("other", "once")); n != 1 {
		t.Errorf("ID-06: %d stored in the other app, want 1", n)
	}
}

// deafOnce is a log that cannot be reached the first time.
type deafOnce struct {
	rest.Log
	reached atomic.Bool
}

func (d *deafOnce) Publish(ctx context.Context, app string, out ...broker.Outgoing) ([]broker.Receipt, error) {
	if !d.reached.Swap(true) {
		return nil, broker.ErrUnavailable
	}
	return d.Log.Publish(ctx, app, out...)
}

func TestID03_AFailedRequestDoesNotUseItsKeyUp(t *testing.T) {
	r := newRig(t, func(o *rest.Options) { o.Log = &deafOnce{Log: o.Log} })
	body := `{"name":"n","channel":"c","data":"d","idempotency_key":"k"}`
	if a := r.publish(body); a.Status != http.StatusServiceUnavailable {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	for range 2 {
		if a := r.publish(body); a.Status != http.StatusOK {
			t.Fatalf("got %d %s", a.Status, a.Body)
		}
	}
	if n := len(r.stored("app", "c")); n != 1 {
		t.Errorf("%d stored, want 1", n)
	}
}

// deaf is a log that cannot be reached.
type deaf struct{ rest.Log }

func (deaf) Publish(context.Context, string, ...broker.Outgoing) ([]broker.Receipt, error) {
	return nil, fmt.Errorf("nobody answers: %w", broker.ErrUnavailable)
}

func TestEV16_WithoutTheLogTheAnswerIs503(t *testing.T) {
	r := newRig(t, func(o *rest.Options) { o.Log = deaf{o.Log} })
	a := r.publish(`{"name":"n","channel":"c","data":"d"}`)
	if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || a.Code != "service_unavailable" {
		t.Errorf("got %d %s %v", a.Status, a.Body, a.Header)
	}
}

// TestEchoOverHTTP: with extras.echo the excluded socket gets the event as well.
func TestEchoOverHTTP(t *testing.T) {
	for extras, excluded := range map[string]string{
		``: "1.2", `,"extras":{"echo":false}`: "1.2", `,"extras":{"echo":true}`: "", `,"extras":{"headers":{"a":1}}`: "1.2",
	} {
		r := newRig(t, nil)
		if a := r.publish(`{"name":"n","channel":"c","data":"1","socket_id":"1.2"` + extras + `}`); a.Status != http.StatusOK {
			t.Fatalf("%s: got %d %s", extras, a.Status, a.Body)
		}
		if got := r.stored("app", "c"); len(got) != 1 || got[0].ExcludeSocket != excluded {
			t.Errorf("%s: stored %+v, want socket %q excluded", extras, got, excluded)
		}
	}
	r := newRig(t, nil)
	if a := r.publish(`{"name":"n","channel":"c","data":"1","extras":{"echo":"yes"}}`); a.Status != http.StatusBadRequest || !strings.Contains(a.Error, "echo") {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
}

// TestIdempotencyKeysHaveTheLimitOfTheConfiguration sets a limit below the largest and tests each place of a
// key.
func TestIdempotencyKeysHaveTheLimitOfTheConfiguration(t *testing.T) {
	r := newRig(t, func(o *rest.Options) {
		o.Apps.ByID("app").Limits.MaxIdempotencyKey = 5
	})
	body := func(key string) []byte {
		return []byte(`{"name":"n","channel":"c","data":"d"` + key + `}`)
	}
	header := func(key string) func(url.Values, http.Header) {
		return func(_ url.Values, h http.Header) { h.Set("X-Idempotency-Key", key) }
	}
	for name, got := range map[string]answer{
		"in the body":          r.call("POST", "app", "/events", body(`,"idempotency_key":"123456"`)),
		"in the header":        r.call("POST", "app", "/events", body(""), header("123456")),
		"in extras":            r.call("POST", "app", "/events", body(`,"extras":{"idempotencyKey":"123456"}`)),
		"in one of a batch":    r.call("POST", "app", "/batch_events", []byte(`{"batch":[`+string(body(`,"idempotency_key":"123456"`))+`]}`)),
		"in a batch, a header": r.call("POST", "app", "/batch_events", []byte(`{"batch":[`+string(body(""))+`]}`), header("123456")),
	} {
		if got.Status != 400 || !strings.Contains(got.Error, "5") {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
		}
	}
	if got := r.call("POST", "app", "/events", body(`,"idempotency_key":"12345"`), header("12345")); got.Status != 200 {
		t.Errorf("a key as long as the limit: %d %s", got.Status, got.Body)
	}
}

// TestID04KeysInExtrasAreNotDelivered: keys are removed from extras, and the rest is as it was written.
func TestID04KeysInExtrasAreNotDelivered(t *testing.T) {
	r := newRig(t, nil)
	for extras, want := range map[string]string{
		`{"idempotencyKey":"k1","headers":{"a":1.50}}`:                          `{"headers":{"a":1.50}}`,
		`{"headers":{"idempotencyKey":"h"},"idempotency_key":"k2", "x": [ 1 ]}`: `{"headers":{"idempotencyKey":"h"},"x":[1]}`,
		`{"a":1,"idempotency\u005fkey":"k3","b":2,"IDEMPOTENCYKEY":null,"b":3}`: `{"a":1,"b":2,"b":3}`,
		`{"idempotencyKey":"k4"}`:                                               ``,
		`{"idempotency":"k5"}`:                                                  `{"idempotency":"k5"}`,
		`{}`:                                                                    `{}`,
	} {
		if a := r.publish(`{"name":"n","channel":"c","data":"1","extras":` + extras + `}`); a.Status != http.StatusOK {
			t.Fatalf("%s: got %d %s", extras, a.Status, a.Body)
		}
		all := r.stored("app", "c")
		if got := string(all[len(all)-1].Extras); got != want {
			t.Errorf("%s: stored %s, want %s", extras, got, want)
		}
	}
}
