package rest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// route is one operation of the API. Its answer is written as JSON.
type route struct {
	name, method string
	// path is relative to /apps/ID/. A segment in braces stands for the channel or the user.
	path  string
	serve func(*request) (any, error)
	// takes are the allowed query parameters in addition to those of the signature.
	takes []string
}

var (
	publishRoute = route{"events", http.MethodPost, "events", (*request).publishEvent, nil}
	batchRoute   = route{"batch_events", http.MethodPost, "batch_events", (*request).publishBatch, nil}
	historyRoute = route{"history", http.MethodGet, "channels/{channel}/history", (*request).history, []string{
		"limit", "direction", "cursor", "format", "start_serial", "end_serial", "start_time_ms", "end_time_ms", "start", "end",
	}}
	keptRoute  = route{"history_channels", http.MethodGet, "history", (*request).kept, []string{"filter_by_prefix", "after", "limit"}}
	stateRoute = route{"history_state", http.MethodGet, "channels/{channel}/history/state", (*request).historyState, nil}
	purgeRoute = route{"history_purge", http.MethodPost, "channels/{channel}/history/purge", (*request).purge, nil}
	resetRoute = route{"history_reset", http.MethodPost, "channels/{channel}/history/reset", (*request).reset, nil}

	channelsRoute  = route{"channels", http.MethodGet, "channels", (*request).channels, []string{"filter_by_prefix", "info"}}
	channelRoute   = route{"channel", http.MethodGet, "channels/{channel}", (*request).one, []string{"info"}}
	usersRoute     = route{"users", http.MethodGet, "channels/{channel}/users", (*request).users, nil}
	terminateRoute = route{"terminate_connections", http.MethodPost, "users/{user_id}/terminate_connections", (*request).terminate, nil}
)

// takesMethod reports whether a request may have this method. HEAD is answered like GET, and net/http omits the
// body.
func (r *route) takesMethod(method string) bool {
	return method == r.method || r.method == http.MethodGet && method == http.MethodHead
}

// allow is the value of the header Allow.
func (r *route) allow() string {
	if r.method == http.MethodGet {
		return "GET, HEAD"
	}
	return r.method
}

// routes returns all routes, the most used ones first.
func routes() []*route {
	return []*route{
		&publishRoute, &batchRoute, &historyRoute, &channelRoute, &channelsRoute, &usersRoute,
		&stateRoute, &keptRoute, &purgeRoute, &resetRoute, &terminateRoute,
	}
}

// Routes returns the names of all operations, as [Options.Observe] gets them.
func Routes() []string {
	var out []string
	for _, r := range routes() {
		out = append(out, r.name)
	}
	return out
}

// Endpoint is an operation for the documentation.
type Endpoint struct {
	// Name is one of [Routes]. Path has {app_id}, {channel} and {user_id} as variables.
	Name, Method, Path string
	// Takes are the query parameters in addition to those of the signature.
	Takes []string
}

// Endpoints returns all operations.
func Endpoints() []Endpoint {
	var out []Endpoint
	for _, r := range routes() {
		out = append(out, Endpoint{r.name, r.method, "/apps/{app_id}/" + r.path, slices.Clone(r.takes)})
	}
	return out
}

// patterns are the paths of all routes, split once.
var patterns = sync.OnceValue(func() (out []pattern) {
	for _, r := range routes() {
		out = append(out, pattern{r, strings.Split(r.path, "/")})
	}
	return out
})

type pattern struct {
	route *route
	parts []string
}

// match reports whether parts, the path below the app, match, and returns the value of the variable.
func (p *pattern) match(parts []string) (variable string, ok bool) {
	if last := len(parts) - 1; p.route.name == terminateRoute.name && last > 2 && parts[0] == p.parts[0] && parts[last] == p.parts[2] {
		// User ids may contain slashes, which some SDKs do not escape.
		return strings.Join(parts[1:last], "/"), true
	}
	if len(parts) != len(p.parts) {
		return "", false
	}
	for i, part := range p.parts {
		switch {
		case part[0] == '{':
			variable = parts[i]
		case part != parts[i]:
			return "", false
		}
	}
	return variable, true
}

// find parses the escaped path, because a channel name may contain anything that can be percent-encoded.
func find(escaped string) (r route, appID, channel string, ok bool) {
	if id, operation, two := strings.Cut(strings.TrimPrefix(escaped, "/apps/"), "/"); two && strings.IndexByte(escaped, '%') < 0 {
		switch operation { // nearly all requests
		case publishRoute.path:
			return publishRoute, id, "", true
		case batchRoute.path:
			return batchRoute, id, "", true
		}
	}
	parts := strings.Split(strings.TrimPrefix(escaped, "/apps/"), "/")
	for i := range parts {
		var err error
		if parts[i], err = url.PathUnescape(parts[i]); err != nil {
			return route{}, "", "", false
		}
	}
	all := patterns()
	for i := range all {
		if variable, ok := all[i].match(parts[1:]); ok {
			return *all[i].route, parts[0], variable, true
		}
	}
	return route{}, "", "", false
}
