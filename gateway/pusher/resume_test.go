package pusher_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/gateway/pusher"
)

func TestParseResume(t *testing.T) {
	long := strings.Repeat("i", 128)
	full := []pusher.ResumePosition{{Channel: "orders", StreamID: "s1", Serial: 41, LastMessageID: "m41"}}
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(`"c` + strconv.Itoa(i) + `":{"serial":1}`)
		}
		return `{"channel_positions":{` + b.String() + `}}`
	}
	for _, c := range []struct {
		name, data string
		want       []pusher.ResumePosition
		err        string
	}{
		{"all members", `{"channel_positions":{"orders":{"stream_id":"s1","serial":41,"last_message_id":"m41"}}}`, full, ""},
		{"in a string", `"{\"channel_positions\":{\"orders\":{\"stream_id\":\"s1\",\"serial\":41,\"last_message_id\":\"m41\"}}}"`, full, ""},
		{"a serial in a string", `{"channel_positions":{"orders":{"stream_id":"s1","serial":"41","last_message_id":"m41"}}}`, full, ""},
		{"a serial with a fraction of zero", `{"channel_positions":{"orders":{"stream_id":"s1","serial":41.0,"last_message_id":"m41"}}}`, full, ""},
		{"members that are not known", `{"channel_positions":{"orders":{"stream_id":"s1","serial":41,"last_message_id":"m41","x":[]}},"y":1}`, full, ""},
		{"nothing but a serial", `{"channel_positions":{"orders":{"serial":0}}}`, []pusher.ResumePosition{{Channel: "orders"}}, ""},
		{"members that are null", `{"channel_positions":{"orders":{"stream_id":null,"serial":7,"last_message_id":null}}}`, []pusher.ResumePosition{{Channel: "orders", Serial: 7}}, ""},
		{"the older form", `{"channel_serials":{"orders":41}}`, []pusher.ResumePosition{{Channel: "orders", Serial: 41}}, ""},
		{"both forms", `{"channel_serials":{"orders":3},"channel_positions":{"orders":{"stream_id":"s1","serial":41,"last_message_id":"m41"}}}`, full, ""},
		{"bases", `{"channel_positions":{"c":{"stream_id":"s","serial":9,"bases_since":0}}}`, []pusher.ResumePosition{{Channel: "c", StreamID: "s", Serial: 9, KeepsBases: true}}, ""},
		{"an empty channel", `{"channel_positions":{"c":{"stream_id":"s","serial":0,"last_message_id":"at:77:g-1","bases_since":0}}}`, []pusher.ResumePosition{{Channel: "c", StreamID: "s", Serial: 77, Since: 77, KeepsBases: true}}, ""},
		{"an empty channel at the largest place", `{"channel_positions":{"c":{"serial":"0","last_message_id":"at:9007199254740991:"}}}`, []pusher.ResumePosition{{Channel: "c", Serial: 1<<53 - 1}}, ""},
		{"a place that is too large", `{"channel_positions":{"c":{"serial":0,"last_message_id":"at:9007199254740992:g-1"}}}`, []pusher.ResumePosition{{Channel: "c", LastMessageID: "at:9007199254740992:g-1"}}, ""},
		{"an event that is called like a place", `{"channel_positions":{"c":{"serial":5,"last_message_id":"at:77:g-1"}}}`, []pusher.ResumePosition{{Channel: "c", Serial: 5, LastMessageID: "at:77:g-1"}}, ""},
		{"the largest serial", `{"channel_positions":{"c":{"serial":9007199254740991}}}`, []pusher.ResumePosition{{Channel: "c", Serial: 1<<53 - 1}}, ""},
		{"a name with an escape", `{"channel_positions":{"\u0063":{"serial":1}}}`, []pusher.ResumePosition{{Channel: "c", Serial: 1}}, ""},

		{"no data", ``, nil, "channel_positions is missing"},
		{"no positions", `{}`, nil, "channel_positions is missing"},
		{"empty positions", `{"channel_positions":{}}`, nil, "channel_positions is empty"},
		{"a list", `{"channel_positions":[]}`, nil, "not an object"},
		{"a number", `7`, nil, "neither an object nor a string"},
		{"a position that is no object", `{"channel_positions":{"c":41}}`, nil, `position of "c": it is not an object`},
		{"no serial", `{"channel_positions":{"c":{"stream_id":"s"}}}`, nil, "serial is missing"},
		{"a negative serial", `{"channel_positions":{"c":{"serial":-1}}}`, nil, "serial is"},
		{"a serial with a fraction", `{"channel_positions":{"c":{"serial":1.5}}}`, nil, "serial is"},
		{"a serial beyond 2^53", `{"channel_positions":{"c":{"serial":9007199254740992}}}`, nil, "2^53"},
		{"a huge serial", `{"channel_positions":{"c":{"serial":1e300}}}`, nil, "2^53"},
		{"a serial that is no number", `{"channel_positions":{"c":{"serial":"x"}}}`, nil, "serial is"},
		{"a serial that is true", `{"channel_positions":{"c":{"serial":true}}}`, nil, "not a number"},
		{"a stream that is no text", `{"channel_positions":{"c":{"serial":1,"stream_id":7}}}`, nil, "stream_id is not a string"},
		{"a stream that is too long", `{"channel_positions":{"c":{"serial":1,"stream_id":"` + strings.Repeat("s", 65) + `"}}}`, nil, "stream_id has 65 bytes, the limit is 64"},
		{"an id that is too long", `{"channel_positions":{"c":{"serial":1,"last_message_id":"` + strings.Repeat("s", 129) + `"}}}`, nil, ": last_message_id has 129 bytes, the limit is 128"},
		{"a socket that is no text", `{"socket_id":7,"channel_positions":{"c":{"serial":1}}}`, nil, "socket_id is not"},
		{"a socket that is too long", `{"socket_id":"` + strings.Repeat("s", 65) + `","channel_positions":{"c":{"serial":1}}}`, nil, "socket_id is not"},
		{"texts as long as may be", `{"socket_id":"` + long[:64] + `","channel_positions":{"c":{"stream_id":"` + long[:64] + `","serial":1,"last_message_id":"` + long + `"}}}`,
			[]pusher.ResumePosition{{Channel: "c", StreamID: long[:64], Serial: 1, LastMessageID: long}}, ""},
		{"an id that is no text", `{"channel_positions":{"c":{"serial":1,"last_message_id":7}}}`, nil, "last_message_id is not a string"},
		{"bases since no number", `{"channel_positions":{"c":{"serial":1,"bases_since":{}}}}`, nil, "bases_since: serial is not"},
		{"bases from later than the position", `{"channel_positions":{"c":{"serial":1,"bases_since":2}}}`, nil, "above serial"},
		{"a salt with a fraction of zero", `{"channel_positions":{"c":{"serial":9.0,"bases_since":7.0,"bases_salt":5.0}}}`,
			[]pusher.ResumePosition{{Channel: "c", Serial: 9, Since: 7, KeepsBases: true, Salt: new(uint32(5))}}, ""},
		{"a salt with a fraction", `{"channel_positions":{"c":{"serial":1,"bases_since":1,"bases_salt":5.5}}}`, nil, "bases_salt is"},
		{"a salt that is no number", `{"channel_positions":{"c":{"serial":1,"bases_since":1,"bases_salt":"5"}}}`, nil, "bases_salt is"},
		{"a salt that is too large", `{"channel_positions":{"c":{"serial":1,"bases_since":1,"bases_salt":2147483648}}}`, nil, "bases_salt is"},
		{"a channel without a name", `{"channel_positions":{"":{"serial":1}}}`, nil, "without a name"},
		{"a channel twice", `{"channel_positions":{"c":{"serial":1},"c":{"serial":2}}}`, nil, "twice"},
		{"too many", many(17), nil, "more than 16 channels"},
		{"the older form, no number", `{"channel_serials":{"c":{}}}`, nil, `position of "c": serial is not a number`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := pusher.ParseResume(c.data, 16)
			got := r.Positions
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %+v and error %v, want one with %q", got, err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("positions (-want +got):\n%s", diff)
			}
		})
	}
	if got, err := pusher.ParseResume(many(16), 16); err != nil || len(got.Positions) != 16 {
		t.Errorf("16 of 16: got %d, %v", len(got.Positions), err)
	}
}

func TestParseRewind(t *testing.T) {
	second := pusher.Rewind{Age: 30e9}
	for value, want := range map[string]pusher.Rewind{
		`20`: {Count: 20}, `"20"`: {Count: 20}, `20.0`: {Count: 20}, `{"count":20}`: {Count: 20},
		`{"seconds":30}`: second, `{"duration_seconds":30}`: second, `{"latest":true}`: {Latest: true}, `2147483647`: {Count: 1<<31 - 1},
	} {
		if got, err := pusher.ParseRewind(value); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", value, got, err, want)
		}
	}
	for _, value := range []string{
		`0`, `-1`, `"0"`, `"-5"`, `1.5`, `1e300`, `"x"`, `""`, `true`, `[]`, `[5]`, `{}`, `{"count":0}`, `{"count":-1}`, `{"count":null}`, `{"count":"20"}`, `{"seconds":"30"}`, `{"duration_seconds":"30"}`,
		`{"seconds":0}`, `{"seconds":-1}`, `{"seconds":1e12}`, `{"duration_seconds":"x"}`, `{"latest":false}`, `{"latest":1}`,
		`"+20"`, `" 20"`, `"20 "`, `{"count":"+20"}`, `{"seconds":"+1"}`, `{"minutes":5}`, `{"count":5,"seconds":5}`, `{"count":5,"x":1}`, `9223372036854775808`, `2147483648`,
	} {
		if got, err := pusher.ParseRewind(value); err == nil || !strings.Contains(err.Error(), "rewind") {
			t.Errorf("%s: got %+v and error %v, want one that names rewind", value, got, err)
		}
	}
}

// TestRecoveryTexts: the texts of protocol sections 5.3 and 5.4, with channel inside the data of a failure.
func TestRecoveryTexts(t *testing.T) {
	failure := pusher.ResumeFailure{
		Channel: "orders", Code: pusher.PositionExpired, Reason: `a "reason"`, Expected: "s1", Current: "s2", Oldest: 90, Newest: 120,
	}
	const failed = `{"channel":"orders","code":"position_expired","reason":"a \"reason\"","expected_stream_id":"s1",` +
		`"current_stream_id":"s2","oldest_available_serial":90,"newest_available_serial":120}`
	for _, c := range []struct{ name, got, want string }{
		{"failure", string(pusher.AppendResumeFailed(nil, &failure)), failed},
		{
			"unknown", string(pusher.AppendResumeFailed(nil, &pusher.ResumeFailure{Channel: "c", Code: pusher.StreamReset})),
			`{"channel":"c","code":"stream_reset","reason":"","expected_stream_id":null,"current_stream_id":null,` +
				`"oldest_available_serial":null,"newest_available_serial":null}`,
		},
		{
			"success", string(pusher.AppendResumeSuccess(nil, []pusher.Recovered{
				{Channel: "a", Source: "hot", Replayed: 3, Stream: "s1", Serial: 44, LastMessageID: "m44"},
				{Channel: "b", Source: "cold", Stream: "s1", Serial: 0},
			}, []pusher.ResumeFailure{failure})),
			`{"recovered":[{"channel":"a","source":"hot","replayed":3,"position":{"stream_id":"s1","serial":44,"last_message_id":"m44"}},` +
				`{"channel":"b","source":"cold","replayed":0,"position":{"stream_id":"s1","serial":0}}],"failed":[` + failed + `]}`,
		},
		{"failures", string(pusher.AppendResumeSuccess(nil, nil, []pusher.ResumeFailure{failure, failure})), `{"recovered":[],"failed":[` + failed + `,` + failed + `]}`},
		{"a place alone", pusher.WithAttachSerial("{}", 7), `{"attach_serial":7}`},
		{"a place and a snapshot", pusher.WithSnapshot(pusher.WithAttachSerial(`{"presence":{"ids":[]}}`, 7)), `{"presence":{"ids":[]},"attach_serial":7,"snapshot":true}`},
		{"nothing", string(pusher.AppendResumeSuccess(nil, nil, nil)), `{"recovered":[],"failed":[]}`},
		{
			"rewind", string(pusher.AppendRewindComplete(nil, pusher.RewindComplete{History: 20, Live: 1})),
			`{"historical_count":20,"live_count":1,"complete":true,"truncated_by_retention":false,"truncated_by_limit":false}`,
		},
		{
			"rewind, cut", string(pusher.AppendRewindComplete(nil, pusher.RewindComplete{History: 100, ByLimit: true})),
			`{"historical_count":100,"live_count":0,"complete":false,"truncated_by_retention":false,"truncated_by_limit":true}`,
		},
		{"snapshot", string(pusher.AppendSnapshotComplete(nil, 7, true)), `{"count":7,"complete":true}`},
	} {
		if c.got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, c.got, c.want)
		}
		if !json.Valid([]byte(c.got)) {
			t.Errorf("%s is not JSON: %s", c.name, c.got)
		}
	}
}

// FuzzResume feeds the parsers of resume and rewind. They must not panic, must keep the limits, and must read
// an object and a string that contains it alike.
func FuzzResume(f *testing.F) {
	for _, seed := range []string{
		`{"channel_positions":{"orders":{"stream_id":"s1","serial":41,"last_message_id":"m41","bases_since":7}}}`,
		`{"channel_serials":{"orders":41,"b":"9007199254740993"}}`, `{"channel_positions":{"a":{"serial":1e3},"a":{"serial":-1}}}`,
		`"{}"`, `{"count":20}`, `"20"`, `{"latest":true}`, `{`, ``,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		const limit = 8
		if data != "" && pusher.CheckJSON(data) != nil {
			return // the message was checked before
		}
		wish, err := pusher.ParseResume(data, limit)
		positions := wish.Positions
		if err == nil && (len(positions) == 0 || len(positions) > limit) {
			t.Fatalf("%q: %d positions", data, len(positions))
		}
		for _, p := range positions {
			if p.Channel == "" || p.Serial > 1<<53 || p.Since > p.Serial || len(p.StreamID) > 64 || len(p.LastMessageID) > 128 {
				t.Fatalf("%q: got %+v", data, p)
			}
		}
		if data == "" {
			return
		}
		if r, err := pusher.ParseRewind(data); err == nil && r.Count < 1 && r.Age < 1 && !r.Latest {
			t.Fatalf("%q: got %+v", data, r)
		}
		if data[0] != '{' {
			return
		}
		again, err2 := pusher.ParseResume(asText(t, data), limit)
		if diff := cmp.Diff(wish, again); diff != "" || (err == nil) != (err2 == nil) {
			t.Fatalf("%q as a string (-object +string):\n%s%v, %v", data, diff, err, err2)
		}
	})
}
