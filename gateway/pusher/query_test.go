package pusher_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicehq/sluice/gateway/pusher"
)

func TestWeeks07QueriesAreReadOnce(t *testing.T) {
	for _, c := range []struct {
		about, raw string
		params     map[string]string
		listed     string
	}{
		{"nothing", "", map[string]string{}, ""},
		{"a semicolon is a character", "filter_by_prefix=a;b", map[string]string{"filter_by_prefix": "a;b"}, ""},
		{"an escaped semicolon, too", "filter_by_prefix=a%3bb", map[string]string{"filter_by_prefix": "a;b"}, ""},
		{"names have no case", "INFO=a&Auth_Key=k", map[string]string{"info": "a", "auth_key": "k"}, ""},
		{"twice", "info=a&info=b", map[string]string{"info": "a,b"}, ""},
		{"in two cases", "info=a&INFO=b", map[string]string{"info": "a,b"}, ""},
		{"a numbered list", "info[0]=a&info[1]=b", map[string]string{"info": "a,b"}, "info[0]=a&info[1]=b"},
		{"an escaped list", "info%5B0%5D=a&info%5b1%5d=b", map[string]string{"info": "a,b"}, "info[0]=a&info[1]=b"},
		{"a list without numbers", "x=1&info[]=b&auth_signature=s&info[]=a", map[string]string{"info": "b,a", "x": "1", "auth_signature": "s"}, "info[]=b&info[]=a&x=1"},
		{"spaces", "a=x+y%20z", map[string]string{"a": "x y z"}, ""},
		{"no value", "info&a=", map[string]string{"info": "", "a": ""}, ""},
		{"needless separators", "&&a=1&", map[string]string{"a": "1"}, ""},
		{"equals signs in a value", "a=b=c%3D", map[string]string{"a": "b=c="}, ""},
		{"a percent sign in a value", "a=%2526", map[string]string{"a": "%26"}, ""},
		{"no list", "info[a]=b&info]=c&[0]=d", map[string]string{"info[a]": "b", "info]": "c", "[0]": "d"}, ""},
	} {
		t.Run(c.about, func(t *testing.T) {
			q, err := pusher.ParseQuery(c.raw)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for name, values := range q.Params {
				got[name] = strings.Join(values, "|")
			}
			if diff := cmp.Diff(c.params, got); diff != "" || q.Listed != c.listed {
				t.Errorf("%s\nlisted %q, want %q", diff, q.Listed, c.listed)
			}
		})
	}
	for _, raw := range []string{"a=x%26b=y", "a%26b=1", "a%3db=1", "a=%zz", "a=%", "%=1", "a=%ff", "a=x%0Ay", "a=%00", "a%0d=1"} {
		if q, err := pusher.ParseQuery(raw); err == nil {
			t.Errorf("%s was read as %v", raw, q.Params)
		}
	}
}

// TestWeeks07APathHasOneMeaning: what is signed decoded is not good for another path.
func TestWeeks07APathHasOneMeaning(t *testing.T) {
	for _, c := range []struct {
		about, sent, signed string
		ok                  bool
	}{
		{"as sent", "/apps/1/users/a%2Fb/x", "/apps/1/users/a%2Fb/x", true},
		{"decoded", "/apps/1/users/a%7Cb/x", "/apps/1/users/a|b/x", true},
		{"as sent, with a percent sign", "/apps/1/users/a%252Fb/x", "/apps/1/users/a%252Fb/x", true},
		{"decoded to what another user is sent as", "/apps/1/users/a%252Fb/x", "/apps/1/users/a%2Fb/x", false},
		{"a slash that was none", "/apps/1/users%2Fa/x", "/apps/1/users/a/x", false},
		{"in lower case", "/apps/1/users%2fa/x", "/apps/1/users/a/x", false},
		{"a line feed", "/apps/1/a%0Ab", "/apps/1/a\nb", false},
		{"with the prefix", "/apps/1/a;b", "/prefix/apps/1/a;b", true},
		{"with the prefix, decoded", "/apps/1/a%3Bb", "/prefix/apps/1/a;b", true},
		{"with another prefix", "/apps/1/a", "/other/apps/1/a", false},
		{"another path", "/apps/1/a", "/apps/1/b", false},
	} {
		t.Run(c.about, func(t *testing.T) {
			decoded, err := url.PathUnescape(c.sent)
			if err != nil {
				t.Fatal(err)
			}
			r := pusher.Request{Method: http.MethodGet, Path: c.sent, Decoded: decoded, Others: []string{"/prefix" + c.sent}, Params: demoParams()}
			r.Params.Set("auth_signature", pusher.SignRequest(demoSecret, r.Method, c.signed, r.Params))
			if err := verifyRequest(demoKey, demoSecret, demoTime, r); (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

// FuzzQuery: what is signed is enough to tell what is meant.
func FuzzQuery(f *testing.F) {
	for _, raw := range []string{
		"auth_key=k&auth_timestamp=1&auth_version=1.0&info=a,b", "info[0]=a&info[1]=b&INFO=c", "a=x%26b=y", "filter_by_prefix=a;b", "a=%252F&a=+", "%41=1&a=2&&=",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := pusher.ParseQuery(raw)
		if err != nil {
			return
		}
		q.Params.Del("auth_signature")
		// The text is read back as it would be by a person.
		r := pusher.Request{Method: "GET", Path: "/", Params: q.Params}
		signed := pusher.SignRequest("secret", r.Method, r.Path, q.Params)
		back := url.Values{}
		for name, values := range q.Params {
			if len(values) != 1 || strings.ContainsAny(values[0], "&\n") || strings.ContainsAny(name, "&=\n") {
				t.Fatalf("%q gave %v", raw, q.Params)
			}
			back.Set(name, values[0])
		}
		again, err := pusher.ParseQuery(back.Encode())
		if err != nil || again.Listed != "" && q.Listed == "" {
			t.Fatalf("%q gave %v, which is not read again: %v", raw, q.Params, err)
		}
		if diff := cmp.Diff(q.Params, again.Params); diff != "" && len(q.Params) > 0 {
			t.Fatalf("%q: %s", raw, diff)
		}
		if pusher.SignRequest("secret", r.Method, r.Path, again.Params) != signed {
			t.Fatalf("%q is signed in two ways", raw)
		}
	})
}
