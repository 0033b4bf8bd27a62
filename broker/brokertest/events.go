package brokertest

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluicehq/sluice/broker"
)

// sameEvent compares the fields that must survive. A backend may or may not keep the DedupID; nil and empty
// are equal.
var sameEvent = cmp.Options{
	cmpopts.IgnoreFields(broker.Event{}, "DedupID"),
	cmpopts.EquateEmpty(),
}

func testEvents(t *testing.T, b *backend) {
	cases := map[string]broker.Event{
		"a JSON object":                     {Name: "e", Data: []byte(`{"price": 1.50,  "b":[1,2]}`)},
		"text that is not JSON":             {Name: "e", Data: []byte("hello, {{world}}")},
		"empty data":                        {Name: "e", Data: []byte{}},
		"control characters and line ends":  {Name: "e", Data: []byte("a\x00b\r\n\r\nNATS/1.0 503\r\n\t")},
		"data that is not ASCII":            {Name: "e", Data: []byte("prix élevé, 価格 🚀")},
		"a few kilobytes":                   {Name: "e", Data: bytes.Repeat([]byte("0123456789"), 800)},
		"a name with spaces and colons":     {Name: " price: up, down = é 価 ", Data: []byte("x")},
		"a name of 200 bytes":               {Name: strings.Repeat("n", 200), Data: []byte("x")},
		"a name with line ends":             {Name: "a\r\nNats-Sequence: 7", Data: []byte("x")},
		"a user id":                         {Name: "client-e", Data: []byte("x"), UserID: "user: 1\r\né", Origin: broker.OriginClient},
		"tags":                              {Name: "e", Data: []byte("x"), Tags: map[string]string{"symbol": "AAPL", "a b": " c=d,\n\"é\" ", "empty": ""}},
		"delta never":                       {Name: "e", Data: []byte("x"), Delta: broker.DeltaNever},
		"delta always":                      {Name: "e", Data: []byte("x"), Delta: broker.DeltaAlways},
		"a conflation key":                  {Name: "e", Data: []byte("x"), ConflationKey: "key: é\n ", HasKey: true},
		"a conflation key that is empty":    {Name: "e", Data: []byte("x"), HasKey: true},
		"an excluded socket":                {Name: "e", Data: []byte("x"), ExcludeSocket: "123.456"},
		"a message id":                      {Name: "e", Data: []byte("x"), MessageID: "id: 1 é " + strings.Repeat("i", 100)},
		"extras":                            {Name: "e", Data: []byte("x"), Extras: []byte(`{"headers":{"a":"é \n"}}`)},
		"a gateway":                         {Name: "e", Data: []byte("x"), Origin: broker.OriginHTTP, Node: "node 1"},
		"the HTTP API as origin":            {Name: "e", Data: []byte("x"), Origin: broker.OriginHTTP},
		"a socket as origin":                {Name: "e", Data: []byte("x"), Origin: broker.OriginClient},
		"everything at once":                everything(),
		"an id for duplicates and all else": withDedup(everything(), "dedup: é \r\n 1"),
	}
	app := b.Apps[0]
	for name, ev := range cases {
		t.Run(name+" survives", func(t *testing.T) {
			channel := b.fresh()
			sink, at := attach(t, b.Log, app, channel)
			handed := ev
			handed.Data, handed.Extras = bytes.Clone(ev.Data), bytes.Clone(ev.Extras)
			handed.Tags = maps.Clone(ev.Tags)
			r := publishEvent(t, b.Log, app, channel, &handed)
			if diff := cmp.Diff(handed, ev); diff != "" {
				t.Errorf("the publish changed the event (-):\n%s", diff)
			}
			settle(t, b.Log, app, channel, r.Position)
			ids := map[string]bool{}
			for way, pubs := range map[string][]*broker.Publication{
				"feed":  sink.await(t, r.Offset),
				"Read":  read(t, b.Log, app, channel, broker.Query{Limit: 1}).Publications,
				"After": after(t, b.Log, app, channel, at.Position(), 1).Publications,
			} {
				if len(pubs) != 1 {
					t.Errorf("%s: got %d publications, want 1", way, len(pubs))
					continue
				}
				if diff := cmp.Diff(pubs[0].Event, ev, sameEvent); diff != "" {
					t.Errorf("%s: got (-) and published (+):\n%s", way, diff)
				}
				if pubs[0].Position != r.Position {
					t.Errorf("%s: position %+v, receipt %+v", way, pubs[0].Position, r.Position)
				}
				if ids[pubs[0].ID()] = true; ev.MessageID != "" && !ids[ev.MessageID] {
					t.Errorf("%s: id %q, want %q", way, pubs[0].ID(), ev.MessageID)
				}
				if pubs[0].Skipped != "" {
					t.Errorf("%s: skipped because %q", way, pubs[0].Skipped)
				}
			}
			if len(ids) != 1 {
				t.Errorf("ids of one event: %v", slices.Collect(maps.Keys(ids)))
			}
		})
	}
	t.Run("no two events of an app have one id, whatever their channels", func(t *testing.T) { testIDs(t, b) })
}

// testIDs publishes alternately to several channels that were followed at almost the same time.
func testIDs(t *testing.T, b *backend) {
	app := b.Apps[0]
	channels := make([]string, 6)
	for i := range channels {
		channels[i] = b.fresh()
	}
	attached := make([]broker.Attachment, len(channels))
	errs := make([]error, len(channels))
	var wg sync.WaitGroup
	for i, c := range channels {
		wg.Go(func() { attached[i], errs[i] = b.Log.Attach(t.Context(), app, c, newRecorder()) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, at := range attached {
		t.Cleanup(at.Detach)
	}
	known := map[string]string{}
	for _, c := range channels {
		events := make([]broker.Outgoing, channelRoom)
		for i := range events {
			events[i] = broker.Outgoing{Channel: c, Event: text("x")}
		}
		receipts, err := b.Log.Publish(t.Context(), app, events...)
		if err != nil {
			t.Fatal(err)
		}
		settle(t, b.Log, app, c, receipts[len(receipts)-1].Position)
		for _, p := range read(t, b.Log, app, c, broker.Query{Limit: channelRoom}).Publications {
			if other := known[p.ID()]; other != "" {
				t.Fatalf("the id %q is that of an event of %q and of one of %q", p.ID(), other, c)
			}
			known[p.ID()] = c
		}
	}
	if want := len(channels) * channelRoom; len(known) != want {
		t.Errorf("%d ids, want %d", len(known), want)
	}
}

func everything() broker.Event {
	return broker.Event{
		Name: "price", Data: []byte(`{"p":1}`), UserID: "u1",
		Tags:  map[string]string{"a": "1", "b": "2"},
		Delta: broker.DeltaAlways, ConflationKey: "AAPL", HasKey: true,
		ExcludeSocket: "1.2", MessageID: "m1", Extras: []byte(`{"x":1}`),
		Origin: broker.OriginHTTP,
	}
}

func withDedup(ev broker.Event, id string) broker.Event {
	ev.DedupID = id
	return ev
}
