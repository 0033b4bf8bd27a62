package pusher_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/gateway/pusher"
)

func TestParseClientFrame(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct {
		name, in string
		want     *pusher.ClientFrame // nil if the frame must be refused
	}{
		{"an event alone", `{"event":"pusher:ping"}`, &pusher.ClientFrame{Event: "pusher:ping"}},
		{"data as an object", `{"event":"e","data":{ "a" : 1 }}`, &pusher.ClientFrame{Event: "e", Data: `{ "a" : 1 }`}},
		{"data as a string", `{"event":"e","data":"{}"}`, &pusher.ClientFrame{Event: "e", Data: `"{}"`}},
		{"CE-05 data with an odd text", `{"event":"e","data":[1.50,"\u00e9\ud800",1e400]}`,
			&pusher.ClientFrame{Event: "e", Data: `[1.50,"\u00e9\ud800",1e400]`}},
		{"data of null", `{"event":"e","data":null}`, &pusher.ClientFrame{Event: "e"}},
		{"data of false", `{"event":"e","data":false}`, &pusher.ClientFrame{Event: "e", Data: `false`}},
		{"a channel", `{"event":"e","channel":"c"}`, &pusher.ClientFrame{Event: "e", Channel: "c"}},
		{"a channel of null", `{"event":"e","channel":null}`, &pusher.ClientFrame{Event: "e"}},
		{"white space around", " \r\n\t{ \"event\" : \"e\" } \n", &pusher.ClientFrame{Event: "e"}},
		{"an escaped name", `{"\u0065vent":"\u0070ing"}`, &pusher.ClientFrame{Event: "ping"}},
		{"unknown members", `{"x":[{}],"event":"e","y":1}`, &pusher.ClientFrame{Event: "e"}},
		{"members that occur twice", `{"event":"a","event":"b","channel":"c","channel":"d","data":1,"data":2}`,
			&pusher.ClientFrame{Event: "a", Channel: "c", Data: `1`}},
		{"a member of the data with the same name", `{"data":{"event":"inner"},"event":"outer"}`,
			&pusher.ClientFrame{Event: "outer", Data: `{"event":"inner"}`}},
		{"data at the depth limit", `{"event":"e","data":` + nested(pusher.MaxDepth-1) + `}`,
			&pusher.ClientFrame{Event: "e", Data: nested(pusher.MaxDepth - 1)}},
		{"data at the depth limit, and brackets beside it", `{"event":"e","x":[[],{}],"data":` + nested(pusher.MaxDepth-1) + `}`,
			&pusher.ClientFrame{Event: "e", Data: nested(pusher.MaxDepth - 1)}},
		{"brackets in a string", `{"event":"e","data":"\"` + strings.Repeat("[{", 500) + `"}`,
			&pusher.ClientFrame{Event: "e", Data: `"\"` + strings.Repeat("[{", 500) + `"`}},
		{"many brackets side by side", `{"event":"e","data":[` + strings.Repeat("[],", 500) + `0]}`,
			&pusher.ClientFrame{Event: "e", Data: `[` + strings.Repeat("[],", 500) + `0]`}},

		{"data below the depth limit", `{"event":"e","data":` + nested(pusher.MaxDepth) + `}`, nil},
		{"nothing but brackets", strings.Repeat("[", 64<<10), nil},
		{"nothing but objects", strings.Repeat(`{"a":`, 20<<10), nil},
		{"WS-12 nothing", ``, nil},
		{"WS-12 not JSON", `hello`, nil},
		{"WS-12 cut off", `{"event":"e"`, nil},
		{"WS-12 more behind", `{"event":"e"}{}`, nil},
		{"WS-12 a comma too many", `{"event":"e",}`, nil},
		{"WS-12 a byte order mark", "\xef\xbb\xbf" + `{"event":"e"}`, nil},
		{"WS-12 a control character in a string", "{\"event\":\"a\nb\"}", nil},
		{"WS-13 an array", `["event"]`, nil},
		{"WS-13 a string", `"event"`, nil},
		{"WS-13 null", `null`, nil},
		{"WS-13 no event", `{}`, nil},
		{"WS-13 an event that is a number", `{"event":1}`, nil},
		{"WS-13 an event that is null", `{"event":null}`, nil},
		{"WS-13 an event that is empty", `{"event":""}`, nil},
		{"WS-13 an event in other letters", `{"Event":"e"}`, nil},
		{"a channel that is a number", `{"event":"e","channel":1}`, nil},
		{"WS-16 not UTF-8", "{\"event\":\"\xff\"}", nil},
		{"WS-16 half a surrogate pair in UTF-8", "{\"event\":\"\xed\xa0\x80\"}", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := pusher.ParseClientFrame([]byte(c.in))
			if (err == nil) != (c.want != nil) {
				t.Fatalf("got error %v, want accepted: %v", err, c.want != nil)
			}
			if c.want == nil {
				return
			}
			if diff := cmp.Diff(*c.want, got); diff != "" {
				t.Errorf("frame (-want +got):\n%s", diff)
			}
		})
	}
}

// TestParseClientFrameKeepsNothingOfItsInput: values that outlive a message must not point into its buffer,
// which is used again.
func TestParseClientFrameKeepsNothingOfItsInput(t *testing.T) {
	for name, c := range map[string]struct {
		message string
		keep    func(pusher.ClientFrame) (any, error)
	}{
		"the names of a frame": {`{"event":"e","channel":"c","data":{"a":"b"}}`, func(f pusher.ClientFrame) (any, error) {
			return [2]string{f.Event, f.Channel}, nil
		}},
		"what a refusal is about": {`{"event":"pusher:subscribe","channel":7,"data":{"channel":"c"}}`, func(f pusher.ClientFrame) (any, error) {
			return [2]string{f.Event, f.Channel}, nil
		}},
		"the channel of a subscription": {`{"event":"e","data":{"channel":"c"}}`, func(f pusher.ClientFrame) (any, error) {
			s, err := pusher.ParseSubscribe(f.Data)
			return s.Channel, err
		}},
		"a filter": {`{"event":"e","data":{"channel":"c","filter":{"key":"k","cmp":"eq","val":"v"}}}`, func(f pusher.ClientFrame) (any, error) {
			s, err := pusher.ParseSubscribe(f.Data)
			if err != nil {
				return nil, err
			}
			filter, err := pusher.ParseFilter(s.Filter)
			return matcher{filter}, err
		}},
		"a member": {`{"event":"e","data":{"channel":"c","channel_data":"{\"user_id\":7,\"user_info\":{\"a\":1}}"}}`, func(f pusher.ClientFrame) (any, error) {
			s, err := pusher.ParseSubscribe(f.Data)
			if err != nil {
				return nil, err
			}
			return pusher.ParseMember(s.ChannelData, 100)
		}},
		"a channel that is left": {`{"event":"e","data":{"channel":"c"}}`, func(f pusher.ClientFrame) (any, error) {
			return pusher.ParseUnsubscribe(f.Data)
		}},
		"algorithms": {`{"event":"e","data":{"algorithms":["fossil"]}}`, func(f pusher.ClientFrame) (any, error) {
			return pusher.ParseEnableDelta(f.Data)
		}},
		"positions": {`{"event":"e","data":{"channel_positions":{"c":{"stream_id":"s","serial":4,"last_message_id":"m"}}}}`, func(f pusher.ClientFrame) (any, error) {
			return pusher.ParseResume(f.Data, 1)
		}},
		"a user": {`{"event":"e","data":{"auth":"a","user_data":"{\"id\":\"u\",\"user_info\":{\"a\":1},\"watchlist\":[\"w\"]}"}}`, func(f pusher.ClientFrame) (any, error) {
			s, err := pusher.ParseSignin(f.Data)
			if err != nil {
				return nil, err
			}
			info, err := pusher.UserInfo(s.UserData, 100)
			watched, _, _ := pusher.Watchlist(s.UserData)
			return []any{s.UserID, string(info), watched}, err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			in := []byte(c.message)
			frame, err := pusher.ParseClientFrame(in)
			if err != nil && frame.Event == "" {
				t.Fatal(err)
			}
			kept, err := c.keep(frame)
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("%s", kept)
			for i := range in {
				in[i] = 'x'
			}
			if got := fmt.Sprintf("%s", kept); got != want {
				t.Errorf("after its buffer was used again: got %s, want %s", got, want)
			}
		})
	}
}

// matcher prints the decisions of a filter.
type matcher struct{ *pusher.Filter }

func (m matcher) String() string {
	return fmt.Sprint(m.Text(), m.Matches("e", map[string]string{"k": "v"}), m.Matches("e", map[string]string{"k": "w"}))
}

// depth is a naive twin of the depth check.
func depth(text []byte) (deepest int) {
	at := 0
	for dec := json.NewDecoder(bytes.NewReader(text)); ; {
		token, err := dec.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			at++
		case json.Delim(']'), json.Delim('}'):
			at--
		}
		deepest = max(deepest, at)
	}
}

// firstMember is a naive twin of reading a member: the text of the first one with this name.
func firstMember(text []byte, name string) json.RawMessage {
	dec := json.NewDecoder(bytes.NewReader(text))
	if first, err := dec.Token(); err != nil || first != json.Delim('{') {
		return nil
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil
		}
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return nil
		}
		if key == name {
			return value
		}
	}
	return nil
}

// FuzzParseClientFrame compares the parser with encoding/json, which shares no code with it.
func FuzzParseClientFrame(f *testing.F) {
	for _, seed := range []string{
		`{"event":"pusher:subscribe","data":{"auth":"","channel":"orders"}}`,
		`{"event":"client-a","channel":"private-x","data":"\ud83d\ude00"}`,
		`{"\u0065vent":"\ud800","data":[1.5e3,-0,null,true]}`,
		`{"event":"a","event":"b"}`, `[`, `{"event":1}`, "{\"event\":\"\xff\"}", `{"event":"a","data":01}`, `{"event":"a","data":1.}`,
		strings.Repeat(`[`, 200), strings.Repeat(`[`, 129) + strings.Repeat(`]`, 129),
		`{"a.b":1,"event":"e","*":2,"event|@x":3}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		valid := utf8.Valid(in) && json.Valid(in)
		tooDeep := valid && depth(in) > pusher.MaxDepth
		err := pusher.CheckJSON(string(in))
		if got, want := err == nil, valid && !tooDeep; got != want {
			t.Fatalf("JSON %q: got %v, want valid: %v", in, err, want)
		}
		if tooDeep && !errors.Is(err, pusher.ErrTooDeep) {
			t.Fatalf("JSON %q: got %v, want ErrTooDeep", in, err)
		}
		got, err := pusher.ParseClientFrame(in)
		var event, channel string
		ok := valid && !tooDeep && json.Unmarshal(firstMember(in, "event"), &event) == nil && event != ""
		if ok {
			raw := firstMember(in, "channel")
			ok = raw == nil || json.Unmarshal(raw, &channel) == nil
		}
		if (err == nil) != ok {
			t.Fatalf("frame %q: got %v, want accepted: %v", in, err, ok)
		}
		if !ok {
			return
		}
		want := pusher.ClientFrame{Event: event, Channel: channel, Data: string(firstMember(in, "data"))}
		if want.Data == "null" {
			want.Data = ""
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("frame %q (-want +got):\n%s", in, diff)
		}
	})
}

func BenchmarkParseClientFrame(b *testing.B) {
	frame := []byte(`{"event":"pusher:subscribe","data":{"auth":"gw_demo_key_01:4a699e5bc43351b69eb7037951b1e7769ab445a6f3978b4d16f5d5fcd2eb0dcc","channel":"private-orders"}}`)
	for name, message := range map[string][]byte{"usual": frame, "large": largeFilter()} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(message)))
			for b.Loop() {
				f, err := pusher.ParseClientFrame(message)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := pusher.ParseSubscribe(f.Data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// largeFilter returns a subscription with a filter that is larger than allowed.
func largeFilter() []byte {
	node := `{"key":"a-long-name-of-a-tag","cmp":"eq","val":"x"}`
	return []byte(`{"event":"pusher:subscribe","data":{"channel":"c","filter":{"op":"or","nodes":[` + strings.Repeat(node+",", 1000) + node + `]}}}`)
}

// TestTrust09ALargeFilterIsNotCopied: a stranger may send one large filter after the other. Before, each was
// copied six times before it was refused, which kept the garbage collector busy.
func TestTrust09ALargeFilterIsNotCopied(t *testing.T) {
	message := largeFilter()
	const n = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		f, err := pusher.ParseClientFrame(message)
		if err != nil {
			t.Fatal(err)
		}
		s, err := pusher.ParseSubscribe(f.Data)
		if err != nil || len(s.Filter) < len(message)/2 {
			t.Fatalf("got a filter of %d bytes, %v", len(s.Filter), err)
		}
		if _, err := pusher.ParseFilter(s.Filter); err == nil {
			t.Fatal("the filter is taken")
		}
	}
	runtime.ReadMemStats(&after)
	got := int64(after.TotalAlloc-before.TotalAlloc) / n
	if most := int64(2048); got > most {
		t.Errorf("a message of %d bytes takes %d bytes, want at most %d", len(message), got, most)
	}
}
