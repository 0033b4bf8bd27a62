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

// What a publisher says can end no event and begin no field.
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

// What can be read is a request that means one thing, whoever wrote it.
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
