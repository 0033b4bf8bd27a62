package pusher_test

import (
	"math"
	"net/http"
	"net/url"
	"runtime"
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
		{"a list out of order", "info[1]=b&info[0]=a", map[string]string{"info": "a,b"}, "info[0]=a&info[1]=b"},
		{"a list before one value", "info[0]=a&info=b", map[string]string{"info": "b,a"}, "info=b&info[0]=a"},
		{"a list behind one value", "info=b&info[0]=a", map[string]string{"info": "b,a"}, "info=b&info[0]=a"},
		{"a list of two forms in two cases", "INFO[1]=c&info[]=b&Info=a&x=2&info[]=d&x=1", map[string]string{"info": "a,b,d,c", "x": "2,1"},
			"info=a&info[1]=c&info[]=b&info[]=d&x=2&x=1"},
		{"a long list", "info[2]=c&info[10]=k&info[0]=a", map[string]string{"info": "a,c,k"}, "info[0]=a&info[10]=k&info[2]=c"},
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

// TestWhatIsSignedHasOneMeaning: the signed text determines the order of values.
func TestWhatIsSignedHasOneMeaning(t *testing.T) {
	for _, c := range [][]string{
		{"info[0]=a&info=b", "info=b&info[0]=a"},
		{"info[1]=a&info[0]=b", "info[0]=b&info[1]=a"},
		{"info[10]=a&info[9]=b", "info[9]=b&info[10]=a"},
		{"info[]=a&info[0]=b&info=c", "info=c&info[0]=b&info[]=a", "INFO=c&info[]=a&Info[0]=b"},
		{"b[]=1&a[1]=2&a=3&b=4", "a=3&a[1]=2&b=4&b[]=1"},
	} {
		var first pusher.Query
		for i, raw := range c {
			q, err := pusher.ParseQuery(raw)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = q
			}
			if diff := cmp.Diff(first, q); diff != "" {
				t.Errorf("%s and %s (-first +second):\n%s", c[0], raw, diff)
			}
		}
	}
}

// TestQueriesCostLittle: a query is parsed before its signature is checked, so it must be cheap.
func TestQueriesCostLittle(t *testing.T) {
	const size = 32 << 10
	many := strings.Repeat("&a=1", 99)
	for about, raw := range map[string]string{
		"separators": strings.Repeat("&", size), "one name": strings.Repeat("a&", size/2), "a list": strings.Repeat("a[]&", size/4),
		"a large value and more of them": "a=" + strings.Repeat("x", size) + many,
	} {
		var err error
		cost := allocated(func() { _, err = pusher.ParseQuery(raw) })
		if few := about == "separators" || strings.HasSuffix(raw, many); few != (err == nil) {
			t.Errorf("%s: %v", about, err)
		}
		if cost > 16*size {
			t.Errorf("%s: a query of %d bytes costs %d", about, len(raw), cost)
		}
		if cost := allocated(func() { _ = pusher.Parameter(raw, "protocol") }); cost > 1<<10 {
			t.Errorf("%s: a parameter of a query of %d bytes costs %d", about, len(raw), cost)
		}
	}
	if _, err := pusher.ParseQuery(many[1:] + "&a[1]=1"); err != nil {
		t.Errorf("of 100 parameters: %v", err)
	}
	if _, err := pusher.ParseQuery(many + "&a=1&b=2"); err == nil || err.Error() != "there are more than 100 parameters" {
		t.Errorf("of 101 parameters: %v", err)
	}
}

// allocated returns the bytes that do allocates. Other goroutines may allocate meanwhile, so the least of
// several tries counts.
func allocated(do func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		do()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// TestOneParameterIsReadAsTheLibraryReadsIt compares Parameter with [url.Values.Get].
func TestOneParameterIsReadAsTheLibraryReadsIt(t *testing.T) {
	for _, raw := range []string{
		"", "a", "a=", "a=1", "b=2&a=1", "a=1&a=2", "A=1", "%61=x+y%20z", "a=%zz&a=2", "a=1;a=2&a=3", "%zz=1&a=b=c", "&&a=&a=1", "a=%ff", "ab=1",
	} {
		if got, want := pusher.Parameter(raw, "a"), (&url.URL{RawQuery: raw}).Query().Get("a"); got != want {
			t.Errorf("%s: got %q, want %q", raw, got, want)
		}
	}
}

// TestWeeks07APathHasOneMeaning: a signature of a decoded path is not valid for another path.
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
			r := pusher.Request{Method: http.MethodGet, Path: c.sent, Others: []string{"/prefix" + c.sent}, Params: demoParams()}
			r.Params.Set("auth_signature", pusher.SignRequest(demoSecret, r.Method, c.signed, r.Params))
			if err := verifyRequest(demoKey, demoSecret, demoTime, r); (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

// FuzzQuery: the signed text determines the meaning of a query.
func FuzzQuery(f *testing.F) {
	for _, raw := range []string{
		"auth_key=k&auth_timestamp=1&auth_version=1.0&info=a,b", "info[0]=a&info[1]=b&INFO=c", "a=x%26b=y", "filter_by_prefix=a;b", "a=%252F&a=+", "%41=1&a=2&&=",
		"info[0]=a&info=b", "info[1]=a&info[0]=b", "info[]=b&INFO[10]=a&info[2]=c&info=&x=1&auth_signature[]=s",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := pusher.ParseQuery(raw)
		if err != nil {
			return
		}
		q.Params.Del("auth_signature")
		// The signed text is parsed as a reader would.
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
		if q.Listed == "" {
			return
		}
		// The other text that may be signed suffices as well: a query with its parameters in its order means
		// the same as every query with that text.
		parts := strings.Split(q.Listed, "&")
		for i, part := range parts {
			name, value, _ := strings.Cut(part, "=")
			parts[i] = url.QueryEscape(name) + "=" + url.QueryEscape(value)
		}
		again, err = pusher.ParseQuery(strings.Join(parts, "&"))
		if err != nil || again.Listed != q.Listed {
			t.Fatalf("%q gave %q, which is read again as %q: %v", raw, q.Listed, again.Listed, err)
		}
		again.Params.Del("auth_signature")
		if diff := cmp.Diff(q.Params, again.Params); diff != "" {
			t.Fatalf("%q, from %q: %s", raw, q.Listed, diff)
		}
	})
}
