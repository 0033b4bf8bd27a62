package webhook

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicehq/sluice/broker/memory"
	"github.com/sluicehq/sluice/gateway/app"
)

func TestWH01TheSignatureIsThatOfTheBody(t *testing.T) {
	at := time.UnixMilli(1767225600123)
	text := body(at, []Event{{Name: ChannelOccupied, Channel: "ticker-AAPL"}})
	if want := `{"time_ms":1767225600123,"events":[{"name":"channel_occupied","channel":"ticker-AAPL"}]}`; string(text) != want {
		t.Errorf("body %s, want %s", text, want)
	}
	if got := signature("gw_demo_secret_01", text); got != "28fc7a5e46a8ec90ff9498faf03d969a30fa4b99e642a96f9edf4134c1473996" {
		t.Errorf("signature %s", got)
	}
}

func TestWH11EveryRequestHasTimeAndKey(t *testing.T) {
	r := listen(t, nil)
	a := tenant(app.Webhook{URL: r.URL + "/hook", Headers: map[string]app.Secret{"Authorization": "Bearer x"}})
	h := run(t, a, nil, nil)
	h.Emit(a, Event{Name: ClientEvent, Channel: "private-a", Event: "client-x", Data: `{"a":1}`, SocketID: "1.2"})
	eventually(t, "it has come", func() bool { return len(r.all()) == 1 })
	q := r.all()[0]
	if q.Time == 0 || q.header.Get("X-Pusher-Key") != a.Key || q.header.Get("Content-Type") != "application/json" ||
		q.header.Get("X-Pusher-Signature") != signature(a.Secret, []byte(q.text)) || q.header.Get("Authorization") != "Bearer x" {
		t.Errorf("got %v %s", q.header, q.text)
	}
}

func TestWH06EventsHaveTheirFields(t *testing.T) {
	for _, c := range []struct {
		event Event
		want  string
	}{
		{Event{Name: ChannelVacated, Channel: "c"}, `{"name":"channel_vacated","channel":"c"}`},
		{Event{Name: MemberAdded, Channel: "c", UserID: `"`}, `{"name":"member_added","channel":"c","user_id":"\""}`},
		{Event{Name: ClientEvent, Channel: "c", Event: "client-e", Data: `{"x":1}`, SocketID: "1.2"},
			`{"name":"client_event","channel":"c","event":"client-e","data":"{\"x\":1}","socket_id":"1.2"}`},
		{Event{Name: ClientEvent, Channel: "c", Event: "client-e", Data: "1", SocketID: "1.2", UserID: "u"},
			`{"name":"client_event","channel":"c","event":"client-e","data":"1","socket_id":"1.2","user_id":"u"}`},
		{Event{Name: CacheMiss, Channel: "c"}, `{"name":"cache_miss","channel":"c"}`},
		{Event{Name: SubscriptionCount, Channel: "c", Count: 7}, `{"name":"subscription_count","channel":"c","subscription_count":7}`},
	} {
		if got := string(c.event.Append(nil)); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
		text, err := encode(&c.event)
		if back, err2 := decode(text); err != nil || err2 != nil || back != c.event {
			t.Errorf("%+v came back as %+v, %v, %v", c.event, back, err, err2)
		}
	}
}

func TestWH07FailuresAreRepeatedInOrder(t *testing.T) {
	r := listen(t, func(n int, _ string) int {
		if n%3 != 2 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	a := tenant(app.Webhook{URL: r.URL})
	h := run(t, a, nil, nil)
	var want []string
	for i := range 20 {
		h.Emit(a, Event{Name: ClientEvent, Channel: "private-a", Data: fmt.Sprint(i)})
		want = append(want, fmt.Sprint("client_event private-a ", i))
	}
	eventually(t, "all have come", func() bool { return len(r.names()) >= len(want) })
	if got := r.names(); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if n := total(h.metrics.retries); n < 20 {
		t.Errorf("%v retries were counted", n)
	}
}

func TestFailuresAreGivenUpInTheEnd(t *testing.T) {
	r := listen(t, func(_ int, text string) int {
		if strings.Contains(text, "bad") {
			return http.StatusTeapot
		}
		return http.StatusOK
	})
	a := tenant(app.Webhook{URL: r.URL})
	h := run(t, a, nil, func(o *Options) { o.RetryFor = 100 * time.Millisecond })
	h.Emit(a, Event{Name: ClientEvent, Channel: "c", Data: "bad"})
	h.Emit(a, Event{Name: ClientEvent, Channel: "c", Data: "good"})
	eventually(t, "the next has come", func() bool { return slices.Equal(r.names(), []string{"client_event c good"}) })
	if n := total(h.metrics.dropped); n != 1 {
		t.Errorf("%v were counted as given up", n)
	}
}

func TestWH08AHangingReceiverHoldsUpNobody(t *testing.T) {
	release := make(chan struct{})
	var hanging atomic.Int64
	bad := listen(t, func(int, string) int { hanging.Add(1); <-release; return http.StatusOK })
	good := listen(t, nil)
	a := tenant(app.Webhook{URL: bad.URL}, app.Webhook{URL: good.URL})
	h := run(t, a, nil, nil)
	t.Cleanup(func() { close(release) })
	for i := range 500 {
		h.Emit(a, Event{Name: ClientEvent, Channel: fmt.Sprint("private-", i%20), Data: fmt.Sprint(i)})
	}
	eventually(t, "the other has got all", func() bool { return len(good.names()) == 500 })
	if hanging.Load() == 0 || hanging.Load() > lanes {
		t.Errorf("%d requests hang, want up to %d", hanging.Load(), lanes)
	}
}

func TestWH09BatchesComeTogether(t *testing.T) {
	t.Parallel() // it waits until a batch is complete
	r := listen(t, nil)
	a := tenant(app.Webhook{URL: r.URL, Batch: true, BatchTime: 10 * time.Second, BatchSize: 50})
	h := run(t, a, nil, nil)
	for i := range 120 {
		h.Emit(a, Event{Name: ClientEvent, Channel: fmt.Sprint("private-", i%3), Data: fmt.Sprint(i)})
	}
	eventually(t, "all have come", func() bool { return len(r.names()) == 120 })
	if n := len(r.all()); n > 5 {
		t.Errorf("they came in %d requests", n)
	}
	for i, name := range r.names() {
		if want := fmt.Sprintf("client_event private-%d %d", i%3, i); name != want {
			t.Fatalf("event %d is %s, want %s", i, name, want)
		}
	}
}

func TestWH04WhoComesBackWasNeverGone(t *testing.T) {
	t.Parallel() // it waits for the grace
	r := listen(t, nil)
	a := tenant(app.Webhook{URL: r.URL})
	// A member that returns does so within the grace, even if a step takes long.
	h := run(t, a, nil, func(o *Options) { o.Grace = 10 * time.Second })
	emit := func(name, user string) { h.Emit(a, Event{Name: name, Channel: "presence-a", UserID: user}) }
	emit(MemberAdded, "stays")
	emit(MemberAdded, "goes")
	emit(MemberRemoved, "stays")
	emit(MemberRemoved, "goes")
	emit(MemberAdded, "stays")
	eventually(t, "the one who went is told of", func() bool { return slices.Contains(r.names(), "member_removed presence-a goes") })
	want := []string{"member_added presence-a stays", "member_added presence-a goes", "member_removed presence-a goes"}
	if got := r.names(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if n := total(h.metrics.withheld); n != 2 {
		t.Errorf("%v were counted as taken back", n)
	}
}

func TestAddressesChoose(t *testing.T) {
	some, all := listen(t, nil), listen(t, nil)
	a := tenant(app.Webhook{URL: some.URL, Events: []string{CacheMiss}, Prefix: "cache-", Suffix: "-x"}, app.Webhook{URL: all.URL, Events: []string{CacheMiss, ClientEvent}})
	h := run(t, a, nil, nil)
	for _, c := range []string{"cache-a-x", "cache-a", "private-x"} {
		h.Emit(a, Event{Name: CacheMiss, Channel: c})
		h.Emit(a, Event{Name: ClientEvent, Channel: c})
		h.Emit(a, Event{Name: ChannelOccupied, Channel: c})
	}
	eventually(t, "all have come", func() bool { return len(all.names()) == 6 && len(some.names()) == 1 })
	if !h.Wants(a, ClientEvent) || h.Wants(a, ChannelOccupied) {
		t.Error("it is not known who wants what")
	}
}

// TestWH10NothingIsLostWithAGateway ends a gateway during its deliveries.
func TestWH10NothingIsLostWithAGateway(t *testing.T) {
	var hold atomic.Bool
	hold.Store(true)
	r := listen(t, func(int, string) int {
		if hold.Load() {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	work := memory.NewWork()
	a := tenant(app.Webhook{URL: r.URL})
	first := run(t, a, work, nil)
	var want []string
	for i := range 50 {
		first.Emit(a, Event{ID: fmt.Sprint(i), Name: ClientEvent, Channel: "private-a", Data: fmt.Sprint(i)})
		want = append(want, fmt.Sprint("client_event private-a ", i))
	}
	eventually(t, "delivering has begun", func() bool { return total(first.metrics.retries) > 0 })
	second := run(t, a, work, nil)
	for i := range 50 {
		// An event that both gateways report is sent once.
		second.Emit(a, Event{ID: fmt.Sprint(i), Name: ClientEvent, Channel: "private-a", Data: fmt.Sprint(i)})
	}
	first.Close(context.Background())
	hold.Store(false)
	eventually(t, "all have come", func() bool { return len(r.names()) >= len(want) })
	if got := r.names(); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// TestWH04AlsoForAddressesThatWantOnlyOneOfAPair: an address that wants only channel_vacated must not be told
// of a channel that was empty for a moment.
func TestWH04AlsoForAddressesThatWantOnlyOneOfAPair(t *testing.T) {
	t.Parallel() // it waits for the grace
	vacated, occupied := listen(t, nil), listen(t, nil)
	a := tenant(app.Webhook{URL: vacated.URL, Events: []string{ChannelVacated, CacheMiss}},
		app.Webhook{URL: occupied.URL, Events: []string{ChannelOccupied, CacheMiss}})
	h := run(t, a, nil, func(o *Options) { o.Grace = 10 * time.Second })
	if !h.Wants(a, ChannelOccupied) || !h.Wants(a, ChannelVacated) || h.Wants(a, MemberAdded) {
		t.Error("both events of a pair are needed to know whether somebody came back")
	}
	h.Emit(a, Event{Name: ChannelOccupied, Channel: "c"})
	h.Emit(a, Event{Name: ChannelVacated, Channel: "c"})
	h.Emit(a, Event{Name: ChannelOccupied, Channel: "c"})
	h.Emit(a, Event{Name: ChannelVacated, Channel: "other"})
	eventually(t, "the channel that stays empty is told of", func() bool { return slices.Contains(vacated.names(), "channel_vacated other") })
	h.Emit(a, Event{Name: CacheMiss, Channel: "c"})
	eventually(t, "the end has come", func() bool {
		return slices.Contains(vacated.names(), "cache_miss c") && slices.Contains(occupied.names(), "cache_miss c")
	})
	if got, want := vacated.names(), []string{"channel_vacated other", "cache_miss c"}; !slices.Equal(got, want) {
		t.Errorf("who wants channel_vacated got %v, want %v", got, want)
	}
	if got, want := occupied.names(), []string{"channel_occupied c", "cache_miss c"}; !slices.Equal(got, want) {
		t.Errorf("who wants channel_occupied got %v, want %v", got, want)
	}
}
