package rest_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/rest"
)

// TestWeeksSDKsRequests has the requests of the official server SDKs as their sources make them: what each
// signs and what it sends. The SDKs of Node, Go and Python themselves run in test/e2e; these cases are the
// forms that differ.
func TestWeeksSDKsRequests(t *testing.T) {
	const (
		channel = "/apps/app/channels/presence-room"
		both    = "user_count,subscription_count"
		event   = `{"name":"n","channel":"c","data":"\u00e9\/"}`
	)
	for _, c := range []struct {
		sdk, about string
		send       exactly
		says       string
	}{
		// PHP 7: the `query` option of its HTTP client numbers lists and escapes everything. The signature
		// joins lists by commas. The path prefix is not signed.
		{"PHP", "info as an array", exactly{method: "GET", path: channel, query: "info%5B0%5D=user_count&info%5B1%5D=subscription_count", signedQuery: "info=" + both}, `"user_count":2`},
		{"PHP", "info as a text", exactly{method: "GET", path: channel, query: "info=user_count%2Csubscription_count", signedQuery: "info=" + both}, `"user_count":2`},
		{"PHP", "channels by prefix", exactly{method: "GET", path: "/apps/app/channels", query: "filter_by_prefix=presence-&info=user_count"}, `"presence-room":{"user_count":2}`},
		{"PHP", "publish", exactly{method: "POST", path: "/apps/app/events", body: event}, `{}`},
		{"PHP", "publish with info and socket", exactly{method: "POST", path: "/apps/app/events", body: `{"name":"n","data":"d","channels":["presence-room","orders"],"socket_id":"1.2","info":"subscription_count"}`}, `"presence-room":{"subscription_count":3}`},
		{"PHP", "a batch", exactly{method: "POST", path: "/apps/app/batch_events", body: `{"batch":[{"name":"n","data":"d","channel":"c"},{"name":"n","data":"d","channel":"presence-room","info":"user_count"}]}`}, `"batch":[{},{"user_count":2}]`},
		{"PHP", "terminate", exactly{method: "POST", path: "/apps/app/users/auth0%7C5f/terminate_connections", signedPath: "/apps/app/users/auth0|5f/terminate_connections", body: `{}`}, `{}`},
		{"PHP", "users", exactly{method: "GET", path: channel + "/users"}, `"u-9"`},
		// Ruby: arrays keep their brackets, also in the signature.
		{"Ruby", "info as an array", exactly{method: "GET", path: channel, query: "info%5B%5D=user_count&info%5B%5D=subscription_count", signedQuery: "info[]=user_count&info[]=subscription_count"}, `"user_count":2`},
		{"Ruby", "info as a text", exactly{method: "GET", path: channel, query: "info=user_count,subscription_count"}, `"user_count":2`},
		{"Ruby", "channels by prefix", exactly{method: "GET", path: "/apps/app/channels", query: "filter_by_prefix=presence-"}, `"presence-room":{}`},
		{"Ruby", "publish", exactly{method: "POST", path: "/apps/app/events", body: `{"name":"n","channels":["c"],"data":"{\"a\":1}"}`}, `{}`},
		{"Ruby", "a batch", exactly{method: "POST", path: "/apps/app/batch_events", body: `{"batch":[{"channel":"c","name":"n","data":"d"}]}`}, `{}`},
		// Java: parameters come in any order with form encoding, and the path is escaped after signing.
		{"Java", "info", exactly{method: "GET", path: channel, query: "info=user_count%2Csubscription_count", signedQuery: "info=" + both}, `"user_count":2`},
		{"Java", "a path that is escaped later", exactly{method: "GET", path: "/apps/app/channels/private-a%3Bb%40c%2Cd%3Ae", signedPath: "/apps/app/channels/private-a;b@c,d:e"}, `"occupied":true`},
		{"Java", "publish", exactly{method: "POST", path: "/apps/app/events", body: `{"channels":["c"],"name":"n","data":"{\"a\":1}","socket_id":"1.2"}`}, `{}`},
		{"Java", "a batch", exactly{method: "POST", path: "/apps/app/batch_events", body: `{"batch":[{"channel":"c","name":"n","data":"\"d\""}]}`}, `{}`},
		// Node: nothing is escaped, arrays are joined, paths may have a prefix.
		{"Node", "info as an array", exactly{method: "GET", path: channel, query: "info=" + both}, `"user_count":2`},
		{"Node", "a user with a bar", exactly{method: "POST", path: "/apps/app/users/auth0|5f/terminate_connections", body: `{}`}, `{}`},
		// Python: terminating connections without the app in the path.
		{"Python", "terminate", exactly{method: "POST", path: "/users/u-9/terminate_connections", body: `{}`}, `{}`},
		{"Python", "info", exactly{method: "GET", path: channel, query: "info=" + both}, `"user_count":2`},
		// Go: the query is sent unescaped, a semicolon as it is.
		{"Go", "a prefix with a semicolon", exactly{method: "GET", path: "/apps/app/channels", query: "filter_by_prefix=private-a;b"}, `"private-a;b@c,d:e"`},
	} {
		t.Run(c.sdk+" "+c.about, func(t *testing.T) {
			r := newRig(t, func(o *rest.Options) {
				withCensus(someone())(o)
				o.Terminate = func(context.Context, *app.App, string) error { return nil }
			})
			if a := r.exactly(c.send); a.Status != http.StatusOK || !strings.Contains(string(a.Body), c.says) {
				t.Errorf("got %d %s, want %s", a.Status, a.Body, c.says)
			}
		})
	}
}
