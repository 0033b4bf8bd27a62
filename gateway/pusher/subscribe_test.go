package pusher_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// asText returns the payload in the other form that clients use: a string that contains the object.
func asText(t *testing.T, object string) string {
	t.Helper()
	b, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParseSubscribe(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     *pusher.Subscribe // nil if the subscription must be refused
	}{
		{"a public channel", `{"auth":"","channel":"orders"}`, &pusher.Subscribe{Channel: "orders"}},
		{"a channel alone", `{"channel":"orders"}`, &pusher.Subscribe{Channel: "orders"}},
		{"a private channel", `{"auth":"k:s","channel":"private-x"}`, &pusher.Subscribe{Channel: "private-x", Auth: "k:s"}},
		{"AUTH-11 member data with odd whitespace", `{"auth":"k:s","channel":"presence-x","channel_data":" { \"user_id\":\"\\u0061\" }"}`,
			&pusher.Subscribe{Channel: "presence-x", Auth: "k:s", ChannelData: ` { "user_id":"\u0061" }`, HasChannelData: true}},
		{"empty member data", `{"channel":"presence-x","channel_data":""}`, &pusher.Subscribe{Channel: "presence-x", HasChannelData: true}},
		{"member data of null", `{"channel":"presence-x","channel_data":null}`, &pusher.Subscribe{Channel: "presence-x"}},
		{"auth of null", `{"channel":"x","auth":null}`, &pusher.Subscribe{Channel: "x"}},
		{"a name that only a check refuses", `{"channel":"ticker:*"}`, &pusher.Subscribe{Channel: "ticker:*"}},
		{"a filter", `{"channel":"x","filter":{"key":"a","cmp":"ex"}}`,
			&pusher.Subscribe{Channel: "x", Filter: `{"key":"a","cmp":"ex"}`}},
		{"a resume that comes behind", `{"channel":"x","resumes":true}`, &pusher.Subscribe{Channel: "x", Resumes: true}},
		{"a resume said in another type", `{"channel":"x","resumes":"true"}`, &pusher.Subscribe{Channel: "x"}},
		{"a filter by its other name", `{"channel":"x","tags_filter":[1]}`, &pusher.Subscribe{Channel: "x", Filter: `[1]`}},
		{"both filters", `{"channel":"x","tags_filter":2,"filter":1}`, &pusher.Subscribe{Channel: "x", Filter: `1`}},
		{"a filter of null beside the other", `{"channel":"x","tags_filter":2,"filter":null}`, &pusher.Subscribe{Channel: "x", Filter: `2`}},
		{"rewind", `{"channel":"x","rewind":{"seconds":30}}`, &pusher.Subscribe{Channel: "x", Rewind: `{"seconds":30}`}},
		{"an empty name, which is for a check as well", `{"channel":""}`, &pusher.Subscribe{}},
		{"rewind of null", `{"channel":"x","rewind":null}`, &pusher.Subscribe{Channel: "x"}},
		{"members of V2 clients", `{"channel":"x","modes":["SUBSCRIBE"]}`, &pusher.Subscribe{Channel: "x"}},

		{"no channel", `{"auth":""}`, nil},
		{"a channel that is a number", `{"channel":1}`, nil},
		{"auth that is a number", `{"channel":"x","auth":1}`, nil},
		{"member data that is an object", `{"channel":"x","channel_data":{}}`, nil},
		{"a list", `["x"]`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for form, data := range map[string]string{"object": c.in, "WS-15 string": asText(t, c.in)} {
				got, err := pusher.ParseSubscribe(data)
				if (err == nil) != (c.want != nil) {
					t.Fatalf("as %s: got error %v, want accepted: %v", form, err, c.want != nil)
				}
				if c.want == nil {
					continue
				}
				if diff := cmp.Diff(*c.want, got); diff != "" {
					t.Errorf("as %s (-want +got):\n%s", form, diff)
				}
			}
		})
	}
	for name, data := range map[string]string{
		"nothing": "", "null": "null", "a number": "1", "an empty string": `""`, "a string that is not JSON": `"x"`,
		"a string that is not an object":   `"[]"`,
		"a string that is nested too deep": `"` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `"`,
	} {
		if got, err := pusher.ParseSubscribe(data); err == nil {
			t.Errorf("%s: got %+v, want an error", name, got)
		}
	}
}

// TestDeltaForms is the table of protocol section 3.3, line by line.
func TestDeltaForms(t *testing.T) {
	on := func(a app.Algorithm) pusher.DeltaRequest {
		return pusher.DeltaRequest{Set: true, On: true, Algorithm: a}
	}
	off, inherit := pusher.DeltaRequest{Set: true}, pusher.DeltaRequest{}
	for form, want := range map[string]pusher.DeltaRequest{
		`null`: inherit, `true`: on(app.AlgorithmUnset), `false`: off,
		`"fossil"`: on(app.Fossil), `"FOSSIL"`: on(app.Fossil),
		`"xdelta3"`: on(app.VCDIFF), `"vcdiff"`: on(app.VCDIFF), `"VcDiff"`: on(app.VCDIFF),
		`"disabled"`: off, `"Disabled"`: off, `"false"`: off, `"none"`: off, `"NONE"`: off,
		`"zstd"`: on(app.AlgorithmUnset), `"true"`: on(app.AlgorithmUnset), `""`: on(app.AlgorithmUnset),
		`{}`: inherit, `{"enabled":true}`: on(app.AlgorithmUnset), `{"enabled":false}`: off, `{"enabled":null}`: inherit,
		`{"algorithm":"fossil"}`: on(app.Fossil), `{"algorithm":"Xdelta3"}`: on(app.VCDIFF), `{"algorithm":"zstd"}`: inherit,
		`{"algorithm":null}`: inherit, `{"algorithm":1}`: inherit,
		`{"enabled":true,"algorithm":"vcdiff"}`:  on(app.VCDIFF),
		`{"enabled":true,"algorithm":"zstd"}`:    on(app.AlgorithmUnset),
		`{"enabled":false,"algorithm":"fossil"}`: {Set: true, Algorithm: app.Fossil},
		`{"enabled":"yes"}`:                      inherit,
		`7`:                                      inherit, `0`: inherit, `["fossil"]`: inherit, `[]`: inherit,
	} {
		got, err := pusher.ParseSubscribe(`{"channel":"c","delta":` + form + `}`)
		if err != nil {
			t.Errorf("delta %s: %v", form, err)
		}
		if diff := cmp.Diff(want, got.Delta); diff != "" {
			t.Errorf("delta %s (-want +got):\n%s", form, diff)
		}
	}
}

func TestParseChannelOnly(t *testing.T) {
	for name, parse := range map[string]func(string) (string, error){
		"unsubscribe": pusher.ParseUnsubscribe, "delta_sync_error": pusher.ParseDeltaSyncError,
	} {
		for _, data := range []string{`{"channel":"c","x":1}`, `"{\"channel\":\"c\"}"`} {
			if got, err := parse(data); err != nil || got != "c" {
				t.Errorf("%s with %s: got %q, %v, want c", name, data, got, err)
			}
		}
		for _, data := range []string{``, `null`, `{}`, `"c"`, `{"channel":7}`, `[]`} {
			if got, err := parse(data); err == nil {
				t.Errorf("%s with %s: got %q, want an error", name, data, got)
			}
		}
	}
}

func TestParseEnableDelta(t *testing.T) {
	both := []app.Algorithm{app.VCDIFF, app.Fossil}
	for _, c := range []struct {
		name, data string
		want       []app.Algorithm
		ok         bool
	}{
		{"no data", ``, nil, true},
		{"an empty object", `{}`, nil, true},
		{"an empty string", `""`, nil, true},
		{"a list of null", `{"algorithms":null}`, nil, true},
		{"both, in the order of the client", `{"algorithms":["xdelta3","fossil"]}`, both, true},
		{"both in a string", `"{\"algorithms\":[\"xdelta3\",\"fossil\"]}"`, both, true},
		{"names of others", `{"algorithms":["zstd",1,null,"FOSSIL"]}`, []app.Algorithm{app.Fossil}, true},
		{"only names of others", `{"algorithms":["zstd"]}`, []app.Algorithm{}, true},
		{"an empty list", `{"algorithms":[]}`, []app.Algorithm{}, true},
		{"a string for a list", `{"algorithms":"fossil"}`, nil, false},
		{"a list that is too long", `{"algorithms":[` + strings.Repeat(`"a",`, 16) + `"a"]}`, nil, false},
		{"a list", `[]`, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := pusher.ParseEnableDelta(c.data)
			if (err == nil) != c.ok {
				t.Fatalf("got error %v, want accepted: %v", err, c.ok)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("algorithms (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzPayloads feeds the parsers of payloads. They must not panic, and must read an object and a string that
// contains it alike.
func FuzzPayloads(f *testing.F) {
	for _, seed := range []string{
		`{"channel":"c","auth":"k:s","channel_data":"{}","delta":{"enabled":true,"algorithm":"vcdiff"},"filter":{}}`,
		`{"algorithms":["fossil",1,[]]}`, `{"auth":"k:s","user_data":"{\"id\":\"u\"}"}`, `"{}"`, `"\"{}\""`, `null`, ``, `{`, `[[[[`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		if data != "" && pusher.CheckJSON(data) != nil {
			return // the message was checked before
		}
		subscribe, subscribeErr := pusher.ParseSubscribe(data)
		signin, signinErr := pusher.ParseSignin(data)
		algorithms, deltaErr := pusher.ParseEnableDelta(data)
		_, _ = pusher.ParseUnsubscribe(data)
		if subscribeErr == nil && subscribe.Channel == "" || signinErr == nil && signin.UserID == "" {
			t.Fatalf("%q: got %+v and %+v", data, subscribe, signin)
		}
		if data == "" || data[0] != '{' {
			return
		}
		text := asText(t, data)
		subscribe2, err2 := pusher.ParseSubscribe(text)
		if diff := cmp.Diff(subscribe, subscribe2); diff != "" || (subscribeErr == nil) != (err2 == nil) {
			t.Fatalf("%q as a string (-object +string):\n%s%v, %v", data, diff, subscribeErr, err2)
		}
		algorithms2, err2 := pusher.ParseEnableDelta(text)
		if diff := cmp.Diff(algorithms, algorithms2); diff != "" || (deltaErr == nil) != (err2 == nil) {
			t.Fatalf("%q as a string (-object +string):\n%s%v, %v", data, diff, deltaErr, err2)
		}
	})
}
