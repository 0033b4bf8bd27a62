package pusher_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/gateway/pusher"
)

func TestParseSignin(t *testing.T) {
	for _, c := range []struct {
		name, userData string
		id             string // empty if the data must be refused
	}{
		{"an id", `{"id":"u-7"}`, "u-7"},
		{"US-01 odd whitespace is kept", ` { "id" : "\u0075-7" , "watchlist":["u-8"] } `, "u-7"},
		{"an id of 128 characters", `{"id":"` + strings.Repeat("é", 128) + `"}`, strings.Repeat("é", 128)},
		{"US-03 no id", `{}`, ""},
		{"US-03 an empty id", `{"id":""}`, ""},
		{"US-03 an id that is a number", `{"id":7}`, ""},
		{"an id of 129 characters", `{"id":"` + strings.Repeat("a", 129) + `"}`, ""},
		{"not an object", `["u-7"]`, ""},
		{"not JSON", `u-7`, ""},
		{"nothing", ``, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := json.Marshal(map[string]string{"auth": "k:s", "user_data": c.userData})
			if err != nil {
				t.Fatal(err)
			}
			got, err := pusher.ParseSignin(string(text))
			if (err == nil) != (c.id != "") {
				t.Fatalf("got error %v, want accepted: %v", err, c.id != "")
			}
			if err != nil {
				return
			}
			want := pusher.Signin{Auth: "k:s", UserData: c.userData, UserID: c.id}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("sign-in (-want +got):\n%s", diff)
			}
		})
	}
	for _, data := range []string{``, `null`, `{}`, `{"auth":"k:s"}`, `{"auth":1,"user_data":"{\"id\":\"u\"}"}`, `{"auth":"k:s","user_data":{"id":"u"}}`} {
		if got, err := pusher.ParseSignin(data); err == nil {
			t.Errorf("%s: got %+v, want an error", data, got)
		}
	}
}
