package rest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/rest"
)

// crowd is a census with fixed contents: for each app and channel the user of each subscription.
type crowd struct {
	mu    sync.Mutex
	there map[string]map[string][]string
	// err, if set, is returned for every question.
	err error
	// asked counts the calls.
	asked int
}

func (c *crowd) ask(app string) (map[string][]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	return c.there[app], c.err
}

func countOf(users []string) rest.Count {
	distinct := slices.Compact(slices.Sorted(slices.Values(users)))
	return rest.Count{Subscriptions: len(users), Users: len(distinct)}
}

func (c *crowd) Channel(_ context.Context, app, channel string) (rest.Count, error) {
	there, err := c.ask(app)
	return countOf(there[channel]), err
}

func (c *crowd) Channels(_ context.Context, app, prefix string, _ func(int) error) (map[string]rest.Count, error) {
	there, err := c.ask(app)
	out := map[string]rest.Count{}
	for channel, users := range there {
		if strings.HasPrefix(channel, prefix) {
			out[channel] = countOf(users)
		}
	}
	return out, err
}

func (c *crowd) Users(_ context.Context, app, channel string) ([]string, error) {
	there, err := c.ask(app)
	var out []string
	for _, u := range there[channel] {
		if !slices.Contains(out, u) {
			out = append(out, u)
		}
	}
	return out, err
}

var _ rest.Census = (*crowd)(nil)

// someone returns a crowd with a few channels of the app, and one of another app.
func someone() *crowd {
	return &crowd{there: map[string]map[string][]string{
		"app": {
			"presence-room":      {"u-9", "u-10", "u-9"},
			"presence-hall":      {"u-1"},
			"orders":             {"", ""},
			"cache-price":        {""},
			"private-a;b@c,d:e":  {""},
			"presence-a;b@c,d:e": {"u;1", "u@2"},
			// Each signed-in connection is subscribed to such a channel.
			"#server-to-user-u-9": {"", ""},
		},
		"other": {"elsewhere": {""}},
	}}
}

func withCensus(c *crowd) func(*rest.Options) {
	return func(o *rest.Options) { o.Census = c }
}

// errOutage is the error of a census that cannot reach its table.
var errOutage = fmt.Errorf("the table is gone: %w", broker.ErrUnavailable)

func (r *rig) get(path string, change ...func(url.Values, http.Header)) answer {
	r.t.Helper()
	return r.call(http.MethodGet, "app", path, nil, change...)
}

// says checks a successful response.
func (a answer) says(t *testing.T, what, want string) {
	t.Helper()
	if a.Status != http.StatusOK || string(a.Body) != want {
		t.Errorf("%s: got %d %s, want 200 %s", what, a.Status, a.Body, want)
	}
}

// refused checks an error response.
func (a answer) refused(t *testing.T, what string, status int, code, names string) {
	t.Helper()
	if a.Status != status || a.Code != code || !strings.Contains(a.Error, names) {
		t.Errorf("%s: got %d %s, want a %d %s that names %q", what, a.Status, a.Body, status, code, names)
	}
}

func TestEV17_EV18_ChannelsThatAreOccupied(t *testing.T) {
	r := newRig(t, withCensus(someone()))
	for _, c := range []struct{ query, want string }{
		{"", `{"channels":{"cache-price":{},"orders":{},"presence-a;b@c,d:e":{},"presence-hall":{},"presence-room":{},"private-a;b@c,d:e":{}}}`},
		{"?filter_by_prefix=", `{"channels":{"cache-price":{},"orders":{},"presence-a;b@c,d:e":{},"presence-hall":{},"presence-room":{},"private-a;b@c,d:e":{}}}`},
		{"?filter_by_prefix=o", `{"channels":{"orders":{}}}`},
		{"?filter_by_prefix=nothing-", `{"channels":{}}`},
		{"?filter_by_prefix=%23server-to-user-", `{"channels":{}}`},
		{"?filter_by_prefix=presence-r&info=user_count", `{"channels":{"presence-room":{"user_count":2}}}`},
		{"?filter_by_prefix=presence-h&info=subscription_count,user_count", `{"channels":{"presence-hall":{"subscription_count":1,"user_count":1}}}`},
		{"?filter_by_prefix=orders&info=subscription_count", `{"channels":{"orders":{"subscription_count":2}}}`},
	} {
		r.get("/channels"+c.query).says(t, "EV-17 "+c.query, c.want)
	}
	for query, names := range map[string]string{
		"?info=user_count":                                  "filter_by_prefix",
		"?info=user_count&filter_by_prefix=presence":        "filter_by_prefix",
		"?info=user_count&filter_by_prefix=private-":        "filter_by_prefix",
		"?info=cache&filter_by_prefix=cache-":               "info",
		"?info=subscription_count,weather":                  "weather",
		"?info=USER_COUNT&filter_by_prefix=presence-":       "USER_COUNT",
		"?info=user_count%20x&filter_by_prefix=presence-ro": "info",
	} {
		r.get("/channels"+query).refused(t, "EV-18 "+query, http.StatusBadRequest, "invalid_input", names)
	}
	r.call(http.MethodGet, "other", "/channels", nil).says(t, "another app", `{"channels":{"elsewhere":{}}}`)
}

func TestEV19_OneChannel(t *testing.T) {
	r := newRig(t, withCensus(someone()))
	for _, c := range []struct{ path, want string }{
		{"/channels/orders", `{"occupied":true}`},
		{"/channels/nobody-here", `{"occupied":false}`},
		{"/channels/orders?info=subscription_count", `{"occupied":true,"subscription_count":2}`},
		{"/channels/presence-room?info=user_count", `{"occupied":true,"user_count":2}`},
		{"/channels/presence-room?info=user_count,subscription_count", `{"occupied":true,"subscription_count":3,"user_count":2}`},
		{"/channels/presence-nobody?info=user_count,subscription_count", `{"occupied":false,"subscription_count":0,"user_count":0}`},
		{"/channels/cache-price?info=cache,subscription_count", `{"cache":null,"occupied":true,"subscription_count":1}`},
	} {
		r.get(c.path).says(t, c.path, c.want)
	}
	for path, names := range map[string]string{
		"/channels/orders?info=user_count":           "user_count",
		"/channels/orders?info=cache":                "cache",
		"/channels/presence-room?info=cache":         "cache",
		"/channels/my-private-cache-x?info=cache":    "cache",
		"/channels/orders?info=occupied":             "occupied",
		"/channels/a%20b":                            "channel",
		"/channels/a%2Fb":                            "channel",
		"/channels/*":                                "channel",
		"/channels/" + strings.Repeat("x", 201):      "200",
		"/channels/%23server-to-user-":               "channel",
		"/channels/private-room?info=user_count,foo": "info",
	} {
		r.get(path).refused(t, path, http.StatusBadRequest, "invalid_input", names)
	}
}

// TestUS08ChannelsOfUsersAreNotCounted: the subscriptions of a user's channel would tell where the user has
// signed in. No request gets them.
func TestUS08ChannelsOfUsersAreNotCounted(t *testing.T) {
	census := someone()
	r := newRig(t, withCensus(census))
	const of, nobody = "/channels/%23server-to-user-u-9", "/channels/%23server-to-user-u-8"
	for _, c := range []struct{ path, want string }{
		{of, `{"occupied":false}`},
		{of + "?info=subscription_count", `{"occupied":false,"subscription_count":0}`},
		{nobody + "?info=subscription_count", `{"occupied":false,"subscription_count":0}`},
		{"/channels?info=subscription_count&filter_by_prefix=%23", `{"channels":{}}`},
	} {
		r.get(c.path).says(t, c.path, c.want)
	}
	const item = `{"name":"n","channel":"#server-to-user-u-9","data":"d","info":"subscription_count"}`
	for _, c := range []struct{ path, body, want string }{
		{"/events", item, `{"channels":{"#server-to-user-u-9":{"subscription_count":0}}}`},
		{"/events", `{"name":"n","channels":["orders","#server-to-user-u-9"],"data":"d","info":"subscription_count,user_count"}`,
			`{"channels":{"#server-to-user-u-9":{"subscription_count":0},"orders":{"subscription_count":2}}}`},
		{"/batch_events", `{"batch":[` + item + `]}`, `{"batch":[{"subscription_count":0}]}`},
	} {
		r.call(http.MethodPost, "app", c.path, []byte(c.body)).says(t, c.path+" "+c.body, c.want)
	}
	r.get(of+"?info=user_count").refused(t, "users", http.StatusBadRequest, "invalid_input", "user_count")
	r.get(of+"/users").refused(t, "who it is", http.StatusBadRequest, "invalid_input", "users")
}

func TestEV21_UsersOfAPresenceChannel(t *testing.T) {
	r := newRig(t, withCensus(someone()))
	r.get("/channels/presence-room/users").says(t, "two users with three sockets", `{"users":[{"id":"u-10"},{"id":"u-9"}]}`)
	r.get("/channels/presence-nobody/users").says(t, "nobody", `{"users":[]}`)
	for _, channel := range []string{"orders", "private-room", "cache-price", "my-presence-room"} {
		r.get("/channels/"+channel+"/users").refused(t, channel, http.StatusBadRequest, "invalid_input", channel)
	}
	r.get("/channels/presence-a%20b/users").refused(t, "no name", http.StatusBadRequest, "invalid_input", "channel")
}

func TestQueriesWithoutTheCensusAre503(t *testing.T) {
	for name, change := range map[string]func(*rest.Options){
		"no census":           nil,
		"a census that fails": withCensus(&crowd{err: errOutage}),
		"a census too late":   withCensus(&crowd{err: context.DeadlineExceeded}),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, change)
			for _, path := range []string{"/channels", "/channels/orders", "/channels/presence-room/users"} {
				a := r.get(path)
				a.refused(t, path, http.StatusServiceUnavailable, "service_unavailable", "")
				if a.Header.Get("Retry-After") == "" {
					t.Errorf("%s: there is no Retry-After", path)
				}
			}
			r.get("/channels?info=weather").refused(t, "nonsense", http.StatusBadRequest, "invalid_input", "weather")
		})
	}
}

// TestHS07_ChannelNamesInPathsMayBeEncoded: channel names may contain characters that clients encode in
// paths.
func TestHS07_ChannelNamesInPathsMayBeEncoded(t *testing.T) {
	r := newRig(t, withCensus(someone()))
	for _, spelling := range []string{"a%3Bb%40c%2Cd%3Ae", "a%3bb%40c%2cd%3ae", "a;b@c,d:e", "a%3Bb@c%2Cd:e"} {
		for _, c := range []struct{ path, decoded, query, want string }{
			{"/channels/private-" + spelling, "/channels/private-a;b@c,d:e", "", `{"occupied":true}`},
			{"/channels/presence-" + spelling, "/channels/presence-a;b@c,d:e", "?info=user_count", `{"occupied":true,"user_count":2}`},
			{"/channels/presence-" + spelling + "/users", "/channels/presence-a;b@c,d:e/users", "", `{"users":[{"id":"u;1"},{"id":"u@2"}]}`},
		} {
			r.get(c.path+c.query).says(t, "signed as sent: "+c.path, c.want)
			r.get(c.path+c.query, func(q url.Values, _ http.Header) {
				q.Set("auth_signature", pusher.SignRequest("app-secret", http.MethodGet, "/apps/app"+c.decoded, without(q, "auth_signature")))
			}).says(t, "signed decoded: "+c.path, c.want)
		}
	}
}

func without(q url.Values, key string) url.Values {
	out := url.Values{}
	for k, v := range q {
		if k != key {
			out[k] = v
		}
	}
	return out
}

func TestHS09_RoutesAndMethods(t *testing.T) {
	r := newRig(t, withCensus(someone()))
	for path, method := range map[string]string{
		"/events":                        http.MethodPost,
		"/batch_events":                  http.MethodPost,
		"/channels":                      http.MethodGet,
		"/channels/c":                    http.MethodGet,
		"/channels/presence-c/users":     http.MethodGet,
		"/channels/c/history":            http.MethodGet,
		"/channels/c/history/state":      http.MethodGet,
		"/users/u/terminate_connections": http.MethodPost,
	} {
		for _, wrong := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			if wrong == method {
				continue
			}
			a := r.call(wrong, "app", path, nil)
			a.refused(t, wrong+" "+path, http.StatusMethodNotAllowed, "method_not_allowed", method)
			allow := map[string]string{http.MethodGet: "GET, HEAD", http.MethodPost: "POST"}[method]
			if got := a.Header.Get("Allow"); got != allow {
				t.Errorf("%s %s: Allow is %q, want %q", wrong, path, got, allow)
			}
		}
	}
	for _, path := range []string{
		"", "/", "/nothing", "/users", "/users/u", "/users/u/terminate", "/channels/c/", "/channels/c/user", "/channels/c/users/u",
		"/channels/a/b/users", "/events/x",
	} {
		r.get(path).refused(t, path, http.StatusNotFound, "not_found", "")
	}
}

func TestQueriesAreSigned(t *testing.T) {
	r := newRig(t, withCensus(someone()))
	unsigned := func(q url.Values, _ http.Header) { q.Del("auth_signature") }
	for _, path := range []string{"/channels", "/channels/orders", "/channels/presence-room/users"} {
		r.get(path, unsigned).refused(t, path, http.StatusUnauthorized, "auth_failed", "auth_signature")
	}
	// A parameter that was added after signing breaks the signature.
	r.get("/channels", func(q url.Values, _ http.Header) { q.Set("filter_by_prefix", "o") }).
		refused(t, "a changed query", http.StatusUnauthorized, "auth_failed", "auth_signature")
}
