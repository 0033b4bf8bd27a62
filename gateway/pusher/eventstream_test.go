package pusher

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTime04EventText(t *testing.T) {
	for name, c := range map[string]struct{ got, want string }{
		"an event": {
			string(AppendEvent(nil, &EventFrame{Event: "hi", Channel: "c", Data: []byte("a\nb"), StreamID: "s", Serial: 7})),
			"event: hi\ndata: {\"event\":\"hi\",\"channel\":\"c\",\"data\":\"a\\nb\",\"stream_id\":\"s\",\"serial\":7}\n\n",
		},
		"a name of the server's": {
			string(AppendEvent(nil, &EventFrame{Event: "gap", Channel: "c"})),
			"data: {\"event\":\"gap\",\"channel\":\"c\",\"data\":\"\"}\n\n",
		},
		"JSON with lines": {
			string(AppendEvent(nil, &EventFrame{Event: "x", Channel: "c", Data: []byte("[1,\r\n2,\r3]"), EmbedData: true})),
			"event: x\ndata: {\"event\":\"x\",\"channel\":\"c\",\"data\":[1,\ndata: 2,\ndata: 3]}\n\n",
		},
		"a control event": {
			string(AppendControl(nil, Events, &Control{Event: "conflated", Channel: "c", Object: []byte(`{"skipped":1}`)})),
			"event: conflated\ndata: {\"channel\":\"c\",\"skipped\":1}\n\n",
		},
		"one without data": {
			string(AppendControl(nil, Events, &Control{Event: "subscription_succeeded", Channel: "c", StreamID: "s", Serial: 3})),
			"event: subscribed\ndata: {\"channel\":\"c\",\"stream_id\":\"s\",\"serial\":3}\n\n",
		},
		"one with an empty object": {
			string(AppendControl(nil, Events, &Control{Event: "cache_miss", Channel: "c", Text: "{}"})),
			"event: cache_miss\ndata: {\"channel\":\"c\"}\n\n",
		},
		"the end": {
			string(AppendStreamEnd(nil, CloseOverCapacity, "slow")),
			"retry: 5000\nevent: error\ndata: {\"code\":4100,\"message\":\"slow\"}\n\n",
		},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// FuzzEventText: the text of a publisher cannot end an event or begin a field.
func FuzzEventText(f *testing.F) {
	f.Add("name", "data", false)
	f.Add("a\nid: 1", "\r\n\r\n", true)
	f.Fuzz(func(t *testing.T, name, data string, embed bool) {
		text := string(AppendEvent(nil, &EventFrame{Event: name, Channel: "c", Data: []byte(data), EmbedData: embed}))
		body, ok := strings.CutSuffix(text, "\n\n")
		if !ok || strings.Contains(text, "\r") {
			t.Fatalf("%q", text)
		}
		for i, line := range strings.Split(body, "\n") {
			if !strings.HasPrefix(line, "data: ") && !(i == 0 && line == "event: "+name) {
				t.Fatalf("line %d of %q", i, text)
			}
		}
	})
}

func TestTime04Places(t *testing.T) {
	one, three := []string{"a"}, []string{"a", "b", "c"}
	for text, c := range map[string]struct {
		channels []string
		places   []Place
	}{
		"s:7":                    {one, []Place{{"s", 7}}},
		"":                       {one, []Place{{}}},
		"s:7,9,-;bea92a47":       {three, []Place{{"s", 7}, {"s", 9}, {}}},
		"s:7,t%3A1:9,9;bea92a47": {three, []Place{{"s", 7}, {"t:1", 9}, {"t:1", 9}}},
		"-,-,-;bea92a47":         {three, []Place{{}, {}, {}}},
	} {
		if got := string(AppendPlaces(nil, c.places, ChannelsSum(c.channels))); got != text {
			t.Errorf("%v is written %q, want %q", c.places, got, text)
		}
		if text == "" {
			continue
		}
		if got, err := ParsePlaces(text, c.channels); err != nil || !cmp.Equal(got, c.places) {
			t.Errorf("%q is read %v, %v, want %v", text, got, err, c.places)
		}
	}
}

// TestTime04QueriesOfEventStreams: queries of event streams, with their meaning or the mistake in them.
func TestTime04QueriesOfEventStreams(t *testing.T) {
	for _, c := range []struct {
		query, id string
		want      EventsQuery
		err       string
	}{
		{"channel=b&channel=a", "", EventsQuery{Channels: []string{"b", "a"}}, ""},
		{"&channel=a%2Bb+c&&filter=%7B%7D&token=x&expires=12&", "", EventsQuery{Channels: []string{"a+b c"}, Filter: "{}", Token: "x", Expires: 12}, ""},
		{"channel=a&since=2147483647", "", EventsQuery{Channels: []string{"a"}, Wish: &Rewind{Count: 1<<31 - 1}}, ""},
		{"channel=a&since=1", "", EventsQuery{Channels: []string{"a"}, Wish: &Rewind{Count: 1}}, ""},
		{"channel=a&since=1h", "", EventsQuery{Channels: []string{"a"}, Wish: &Rewind{Age: time.Hour}}, ""},
		{"channel=a&since=87600h", "", EventsQuery{Channels: []string{"a"}, Wish: &Rewind{Age: maxRewindSeconds * time.Second}}, ""},
		{"channel=a&since=latest", "", EventsQuery{Channels: []string{"a"}, Wish: &Rewind{Latest: true}}, ""},
		{"channel=a&since=s:7", "", EventsQuery{Channels: []string{"a"}, Places: []Place{{"s", 7}}}, ""},
		{"channel=a&since=20", "s:9", EventsQuery{Channels: []string{"a"}, Wish: &Rewind{Count: 20}, Places: []Place{{"s", 9}}}, ""},
		{"channel=a&since=s:7", "s:9", EventsQuery{Channels: []string{"a"}, Places: []Place{{"s", 9}}}, ""},
		{"channel=a&channel=b&channel=c", "s:7,9,-;bea92a47", EventsQuery{Channels: []string{"a", "b", "c"}, Places: []Place{{"s", 7}, {"s", 9}, {}}}, ""},

		{"", "", EventsQuery{}, "channel is missing"},
		{"since=1", "", EventsQuery{}, "channel is missing"},
		{"channel=a&channel=b&channel=c&channel=d", "", EventsQuery{}, "more than 3 channels"},
		{"channel=a&channel=a", "", EventsQuery{}, "given twice"},
		{"channel=a&since=1&since=2", "", EventsQuery{}, "since is given twice"},
		{"channel=a&token=&token=x", "", EventsQuery{}, "token is given twice"},
		{"channel=a&Channel=b", "", EventsQuery{}, "unknown"},
		{"channel=a&filter=%zz", "", EventsQuery{}, `the parameter "filter"`},
		{"channel=a&%zz=1", "", EventsQuery{}, "the parameter"},
		{"channel=%ff", "", EventsQuery{}, "not plain UTF-8"},
		{"channel=a&x%00=1", "", EventsQuery{}, "not plain UTF-8"},
		{"channel=a&expires=soon", "", EventsQuery{}, "expires is"},
		{"channel=a&expires=", "", EventsQuery{}, "expires is"},
		{"channel=a&since=0", "", EventsQuery{}, "since: "},
		{"channel=a&since=2147483648", "", EventsQuery{}, "since: "},
		{"channel=a&since=0s", "", EventsQuery{}, "since: "},
		{"channel=a&since=-5s", "", EventsQuery{}, "since: "},
		{"channel=a&since=87600h1ns", "", EventsQuery{}, "since: "},
		{"channel=a&since=", "", EventsQuery{}, "since: "},
		{"channel=a&since=a:b:c", "", EventsQuery{}, "since: "},
		{"channel=a&channel=b", "s:7,9;00000000", EventsQuery{}, "Last-Event-ID: "},
		{"channel=a", "7", EventsQuery{}, "Last-Event-ID: "},
	} {
		got, err := ParseEventsQuery(c.query, c.id, 3)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q, %q: got %+v and %v, want an error with %q", c.query, c.id, got, err, c.err)
			}
		} else if err != nil || !cmp.Equal(got, c.want) {
			t.Errorf("%q, %q: got %+v, %v, want %+v", c.query, c.id, got, err, c.want)
		}
	}
}

// TestTime04TokensOfEventStreams: a token is valid for its channels in their order, and until its time, which
// may be a day ahead at most.
func TestTime04TokensOfEventStreams(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, c := range []struct {
		name     string
		key      string
		secret   string
		channels []string
		ahead    int64
		change   func(q *EventsQuery)
		err      string
	}{
		{"good", "key", "secret", []string{"a", "b"}, 60, nil, ""},
		{"for a second", "key", "secret", []string{"a", "b"}, 1, nil, ""},
		{"for a day", "key", "secret", []string{"a", "b"}, 86400 + 600, nil, ""},
		{"now", "key", "secret", []string{"a", "b"}, 0, nil, "expired"},
		{"for more than a day", "key", "secret", []string{"a", "b"}, 86400 + 601, nil, "more than a day"},
		{"no token", "key", "secret", []string{"a", "b"}, 60, func(q *EventsQuery) { q.Token = "" }, "token is missing"},
		{"no time", "key", "secret", []string{"a", "b"}, -now.Unix(), nil, "expires is missing"},
		{"other key", "other", "secret", []string{"a", "b"}, 60, nil, "wrong signature"},
		{"other secret", "key", "other", []string{"a", "b"}, 60, nil, "wrong signature"},
		{"other order", "key", "secret", []string{"b", "a"}, 60, nil, "wrong signature"},
		{"a channel less", "key", "secret", []string{"a"}, 60, nil, "wrong signature"},
		{"a channel more", "key", "secret", []string{"a", "b", "c"}, 60, nil, "wrong signature"},
		{"another time", "key", "secret", []string{"a", "b"}, 60, func(q *EventsQuery) { q.Expires++ }, "wrong signature"},
		{"more behind", "key", "secret", []string{"a", "b"}, 60, func(q *EventsQuery) { q.Token += "0" }, "wrong signature"},
	} {
		q := EventsQuery{Channels: []string{"a", "b"}, Expires: now.Unix() + c.ahead}
		q.Token = SignEvents(c.key, c.secret, c.channels, q.Expires)
		if c.change != nil {
			c.change(&q)
		}
		err := VerifyEvents("key", "secret", now, &q)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.err)
		}
	}
}

// FuzzEventsQuery: an accepted query is within the limits, and its positions can be written and read again.
func FuzzEventsQuery(f *testing.F) {
	f.Add("channel=a&channel=b&since=20", "s:1,2;00000000")
	f.Add("channel=a&since=s%3A4&filter={}&token=x&expires=1", "")
	f.Add("channel=a;b&since=latest", "s:4")
	f.Add("channel=a&since=1h", "a:b:c:1")
	f.Fuzz(func(t *testing.T, query, id string) {
		q, err := ParseEventsQuery(query, id, 10)
		if err != nil {
			return
		}
		if len(q.Channels) == 0 || len(q.Channels) > 10 || q.Places != nil && len(q.Places) != len(q.Channels) {
			t.Fatalf("%+v", q)
		}
		if q.Wish != nil && q.Wish.Count < 1 && (q.Wish.Age <= 0 || q.Wish.Age > maxRewindSeconds*time.Second) && !q.Wish.Latest {
			t.Fatalf("%+v", *q.Wish)
		}
		if q.Places == nil {
			return
		}
		again, err := ParsePlaces(string(AppendPlaces(nil, q.Places, ChannelsSum(q.Channels))), q.Channels)
		if err != nil || !cmp.Equal(again, q.Places) {
			t.Fatalf("%v becomes %v, %v", q.Places, again, err)
		}
	})
}
