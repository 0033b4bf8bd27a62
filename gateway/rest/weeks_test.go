package rest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/rest"
)

// exactly is a request as an SDK sends it: what it signs, and what it sends. The parameters that every SDK
// has are added to both.
type exactly struct {
	method, path, query string
	// signedPath and signedQuery are what is signed instead, if they differ.
	signedPath, signedQuery string
	body                    string
	header                  map[string]string
}

func (r *rig) exactly(e exactly) answer {
	r.t.Helper()
	common := []string{"auth_key=app-key", "auth_timestamp=" + strconv.FormatInt(time.Now().Unix(), 10), "auth_version=1.0"}
	if e.body != "" {
		sum := md5.Sum([]byte(e.body))
		common = append(common, "body_md5="+hex.EncodeToString(sum[:]))
	}
	pick := func(a, b string) string {
		if a == "" {
			return b
		}
		return a
	}
	signed := slices.Clone(common)
	if q := pick(e.signedQuery, e.query); q != "" {
		signed = append(signed, strings.Split(q, "&")...)
	}
	slices.SortStableFunc(signed, func(a, b string) int {
		a, _, _ = strings.Cut(a, "=")
		b, _, _ = strings.Cut(b, "=")
		return strings.Compare(a, b)
	})
	mac := hmac.New(sha256.New, []byte("app-secret"))
	fmt.Fprintf(mac, "%s\n%s\n%s", e.method, pick(e.signedPath, e.path), strings.Join(signed, "&"))
	target := e.path + "?" + strings.Join(append(common, "auth_signature="+hex.EncodeToString(mac.Sum(nil))), "&")
	if e.query != "" {
		target += "&" + e.query
	}
	return r.sent(e.method, target, e.body, e.header)
}

// sent sends a request target unchanged, which a client library would not.
func (r *rig) sent(method, target, body string, header map[string]string) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, r.base, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.URL.Opaque = target
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	a := answer{Status: resp.StatusCode, Header: resp.Header, Body: text}
	_ = json.Unmarshal(text, &a)
	return a
}

func TestWeeks07QueryStrings(t *testing.T) {
	const both = `"subscription_count"`
	for _, c := range []struct {
		about  string
		send   exactly
		status int
		says   string
	}{
		{"a semicolon in a prefix", exactly{method: "GET", path: "/apps/app/channels", query: "filter_by_prefix=a;b"}, 200, `"channels":{}`},
		{"an escaped one", exactly{method: "GET", path: "/apps/app/channels", query: "filter_by_prefix=a%3Bb", signedQuery: "filter_by_prefix=a;b"}, 200, `"channels":{}`},
		{"a semicolon in a path", exactly{method: "GET", path: "/apps/app/channels/a;b"}, 200, `"occupied":false`},
		{"a semicolon that is escaped and signed plain", exactly{method: "GET", path: "/apps/app/channels/a%3Bb", signedPath: "/apps/app/channels/a;b"}, 200, `"occupied":false`},
		{"info twice, signed joined", exactly{method: "GET", path: "/apps/app/channels/presence-room", query: "info=user_count&info=subscription_count",
			signedQuery: "info=user_count,subscription_count"}, 200, both},
		{"info as a list, signed joined", exactly{method: "GET", path: "/apps/app/channels/presence-room", query: "info%5B0%5D=user_count&info%5B1%5D=subscription_count",
			signedQuery: "info=user_count,subscription_count"}, 200, both},
		{"info as a list with plain brackets", exactly{method: "GET", path: "/apps/app/channels/presence-room", query: "info[0]=user_count&info[1]=subscription_count",
			signedQuery: "info=user_count,subscription_count"}, 200, both},
		{"info as a list, signed as sent", exactly{method: "GET", path: "/apps/app/channels/presence-room", query: "info[]=user_count&info[]=subscription_count"}, 200, both},
		{"info in capitals", exactly{method: "GET", path: "/apps/app/channels/presence-room", query: "INFO=user_count,subscription_count",
			signedQuery: "info=user_count,subscription_count"}, 200, both},
		{"a comma that is escaped", exactly{method: "GET", path: "/apps/app/channels/presence-room", query: "info=user_count%2Csubscription_count",
			signedQuery: "info=user_count,subscription_count"}, 200, both},
		{"infos", exactly{method: "GET", path: "/apps/app/channels/presence-room", query: "infos=user_count"}, 400, "infos"},
		{"an unknown one beside", exactly{method: "GET", path: "/apps/app/channels", query: "info=subscription_count&page=2"}, 400, "page"},
		{"info of users", exactly{method: "GET", path: "/apps/app/channels/presence-room/users", query: "info=user_count"}, 400, "info"},
		{"a parameter of a publish", exactly{method: "POST", path: "/apps/app/events", query: "name=x", body: `{"name":"n","channel":"c","data":"d"}`}, 400, "name"},
		{"a limit of the state", exactly{method: "GET", path: "/apps/app/channels/c/history/state", query: "limit=1"}, 400, "limit"},
		{"a limit twice", exactly{method: "GET", path: "/apps/app/channels/c/history", query: "limit=1&limit=2", signedQuery: "limit=1,2"}, 400, "limit"},
		{"an unknown one that is not signed", exactly{method: "GET", path: "/apps/app/channels", query: "x=1", signedQuery: "y=1"}, 401, "auth_signature"},
		{"two meanings", exactly{method: "GET", path: "/apps/app/channels", query: "filter_by_prefix=presence-%26info=user_count",
			signedQuery: "filter_by_prefix=presence-&info=user_count"}, 400, "filter_by_prefix"},
		{"info of an event as a list", exactly{method: "POST", path: "/apps/app/events",
			body: `{"name":"n","channel":"presence-room","data":"d","info":["user_count","subscription_count"]}`}, 200, both},
		{"info of an event as a number", exactly{method: "POST", path: "/apps/app/events", body: `{"name":"n","channel":"c","data":"d","info":5}`}, 400, "info"},
		{"info of an event that is null", exactly{method: "POST", path: "/apps/app/events", body: `{"name":"n","channel":"c","data":"d","info":null}`}, 200, "{}"},
		{"an escape that is none", exactly{method: "GET", path: "/apps/app/channels", query: "info=%zz"}, 400, "info"},
		{"another channel by a second escape", exactly{method: "GET", path: "/apps/app/channels/a%253Bb", signedPath: "/apps/app/channels/a%3Bb"}, 401, "auth_signature"},
		{"another user by a second escape", exactly{method: "POST", path: "/apps/app/users/a%252Fb/terminate_connections",
			signedPath: "/apps/app/users/a%2Fb/terminate_connections"}, 401, "auth_signature"},
		{"that user as sent", exactly{method: "POST", path: "/apps/app/users/a%252Fb/terminate_connections"}, 200, "{}"},
		{"a user with a bar, signed as sent", exactly{method: "POST", path: "/apps/app/users/auth0|5f/terminate_connections", body: "{}"}, 200, "{}"},
		{"a user with a bar, escaped and signed plain", exactly{method: "POST", path: "/apps/app/users/auth0%7C5f/terminate_connections",
			signedPath: "/apps/app/users/auth0|5f/terminate_connections", body: "{}"}, 200, "{}"},
		{"a user without an app", exactly{method: "POST", path: "/users/a@b.example/terminate_connections", body: "{}"}, 200, "{}"},
	} {
		t.Run(c.about, func(t *testing.T) {
			r := newRig(t, func(o *rest.Options) {
				withCensus(someone())(o)
				o.Terminate = func(context.Context, *app.App, string) error { return nil }
			})
			if a := r.exactly(c.send); a.Status != c.status || !strings.Contains(string(a.Body), c.says) {
				t.Errorf("got %d %s, want %d and %s", a.Status, a.Body, c.status, c.says)
			}
		})
	}
}

// TestWeeks07WhoIsMeant: the id of a user in a path arrives decoded exactly once.
func TestWeeks07WhoIsMeant(t *testing.T) {
	for path, want := range map[string]string{
		"/apps/app/users/a%2Fb/terminate_connections": "a/b", "/apps/app/users/a/b/terminate_connections": "a/b",
		"/apps/app/users/a%252Fb/terminate_connections": "a%2Fb", "/users/a|b/terminate_connections": "a|b",
		"/apps/app/users/n%C3%A9e%20x/terminate_connections": "née x", "/apps/app/users/a+b/terminate_connections": "a+b",
		"/apps/app/users/terminate_connections/terminate_connections": "terminate_connections",
	} {
		got := ""
		r := newRig(t, func(o *rest.Options) {
			o.Terminate = func(_ context.Context, _ *app.App, user string) error { got = user; return nil }
		})
		if a := r.exactly(exactly{method: "POST", path: path, body: "{}"}); a.Status != http.StatusOK || got != want {
			t.Errorf("%s: got %d %s and %q, want %q", path, a.Status, a.Body, got, want)
		}
	}
}

func packed(text string) string {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return out.String()
}

func TestWeeks16PackedBodies(t *testing.T) {
	const event = `{"name":"n","channel":"c","data":"é"}`
	md5Of := func(text string) string {
		sum := md5.Sum([]byte(text))
		return "&body_md5=" + hex.EncodeToString(sum[:])
	}
	bomb := packed(strings.Repeat(" ", 8<<20) + event)
	for _, c := range []struct {
		about, encoding, body string
		status                int
		says                  string
	}{
		{"gzip", "gzip", packed(event), 200, "{}"},
		{"its other name", "X-GZIP", packed(event), 200, "{}"},
		{"in two members", "gzip", packed(event[:9]) + packed(event[9:]), 200, "{}"},
		{"none", "identity", event, 200, "{}"},
		{"deflate", "deflate", event, 415, "gzip"},
		{"brotli", "br", event, 415, "gzip"},
		{"twice", "gzip, gzip", packed(packed(event)), 415, "gzip"},
		{"not packed", "gzip", event, 400, "gzip"},
		{"cut off", "gzip", packed(event)[:20], 400, "gzip"},
		{"packed and not said", "", packed(event), 400, "UTF-8"},
		{"a bomb", "gzip", bomb, 413, "larger than 1048576"},
		{"the sum of what is packed in it", "gzip", packed(event), 200, "{}"},
	} {
		t.Run(c.about, func(t *testing.T) {
			r := newRig(t, nil)
			e := exactly{method: "POST", path: "/apps/app/events", body: c.body, header: map[string]string{"Content-Encoding": c.encoding}}
			a := r.exactly(e)
			if strings.HasPrefix(c.about, "the sum") {
				// A layer below the SDK packs the body, so the digest is that of the SDK's text.
				a = r.publishPackedBelow(event, md5Of(event))
			}
			if a.Status != c.status || !strings.Contains(string(a.Body), c.says) {
				t.Errorf("got %d %.200s", a.Status, a.Body)
			}
			if n := len(r.stored("app", "c")); (n > 0) != (c.status == http.StatusOK) {
				t.Errorf("%d are stored", n)
			}
			if c.status == http.StatusUnsupportedMediaType && a.Header.Get("Accept-Encoding") != "gzip" {
				t.Errorf("got %v", a.Header)
			}
		})
	}
	t.Run("signed is what is sent", func(t *testing.T) {
		r := newRig(t, nil)
		if a := r.publishPackedBelow(event, md5Of("something else")); a.Status != http.StatusUnauthorized {
			t.Errorf("got %d %s", a.Status, a.Body)
		}
	})
}

// publishPackedBelow sends a packed body with the digest parameters in sum.
func (r *rig) publishPackedBelow(text, sum string) answer {
	r.t.Helper()
	query := "auth_key=app-key&auth_timestamp=" + strconv.FormatInt(time.Now().Unix(), 10) + "&auth_version=1.0" + sum
	mac := hmac.New(sha256.New, []byte("app-secret"))
	fmt.Fprintf(mac, "POST\n/apps/app/events\n%s", query)
	return r.sent("POST", "/apps/app/events?"+query+"&auth_signature="+hex.EncodeToString(mac.Sum(nil)), packed(text), map[string]string{"Content-Encoding": "gzip"})
}
