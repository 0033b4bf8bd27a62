package stream

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// MaxChannels bounds the channels of one stream, because its ids have the positions in all of them, and
// browsers return these in a header.
const MaxChannels = 100

// Limits bound what one request may ask for.
type Limits struct {
	// Channels is the most subscriptions of a connection, FilterBytes the most memory of its filters, in
	// bytes.
	Channels, FilterBytes int
	// History says that the past can be read.
	History bool
	Now     time.Time
}

// Path reports whether a request is for an event stream, and the key of the app.
func Path(r *http.Request) (key string, ok bool) {
	rest, found := strings.CutPrefix(r.URL.Path, "/app/")
	key, ok = strings.CutSuffix(rest, "/events")
	return key, found && ok && key != "" && !strings.Contains(key, "/") && !websocket.Asked(r.Header)
}

// AllowOrigin lets the requesting page read the answer. The caller has checked that the app allows the
// origin.
func AllowOrigin(header http.Header, r *http.Request, a *app.App) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return
	}
	if len(a.Origins) == 0 {
		header.Set("Access-Control-Allow-Origin", "*")
		return
	}
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Vary", "Origin")
}

// Preflight answers CORS preflight requests, and reports whether the request was one.
func Preflight(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodOptions {
		return false
	}
	w.Header().Set("Access-Control-Allow-Methods", http.MethodGet)
	w.Header().Set("Access-Control-Allow-Headers", "Last-Event-ID, Cache-Control")
	w.Header().Set("Access-Control-Max-Age", "7200")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// Read parses a request for a stream of an app, or returns why it is refused.
func Read(r *http.Request, a *app.App, limits Limits) (q pusher.EventsQuery, no *Refusal) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return q, &Refusal{http.StatusMethodNotAllowed, "method", "method_not_allowed", "this path is for GET"}
	}
	q, err := pusher.ParseEventsQuery(r.URL.RawQuery, r.Header.Get("Last-Event-ID"), min(MaxChannels, limits.Channels))
	if err != nil {
		return q, wrong("%v", err)
	}
	needsAuth := a.AuthTimeout > 0 || q.Token != ""
	for _, name := range q.Channels {
		if err := pusher.CheckChannel(name, a.Limits.MaxChannelLength); err != nil {
			return q, wrong("channel: %v", err)
		}
		kind := pusher.KindOf(name)
		if kind.Presence() || kind.Encrypted() || kind.ServerToUser() {
			return q, &Refusal{http.StatusForbidden, "channel", "forbidden", fmt.Sprintf(
				"channel: %.100q cannot be read by an event stream: it takes a WebSocket to be a member, to decrypt, or to sign in", name)}
		}
		needsAuth = needsAuth || kind.NeedsAuth()
		if q.Wish != nil && (!a.Rewind || !limits.History || a.Readings.Of(name).Off) {
			return q, &Refusal{http.StatusUnprocessableEntity, "disabled", "feature_disabled", fmt.Sprintf(
				"since: the past of %.100q is not to be read (history.rewind_enabled, channel_history)", name)}
		}
	}
	if needsAuth {
		err := a.Verify(limits.Now, func(key, secret string) error { return pusher.VerifyEvents(key, secret, limits.Now, &q) })
		if err != nil {
			return q, &Refusal{http.StatusUnauthorized, "auth", "auth_failed", err.Error()}
		}
	}
	filter, err := pusher.ParseFilter(q.Filter)
	if err != nil {
		return q, wrong("%v", err)
	}
	if filter != nil && filter.Size() > limits.FilterBytes {
		return q, wrong("filter: it needs %d bytes, the limit is %d (tag_filtering.max_bytes_per_connection)", filter.Size(), limits.FilterBytes)
	}
	return q, nil
}

// opening is the beginning of a stream.
var opening = []byte("retry: 2000\n:\n\n")

// head returns the header of an HTTP/1.1 answer that is a stream, with the CORS headers from decided. The
// answer ends with the connection.
func head(decided http.Header) []byte {
	b := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\nConnection: close\r\n")
	for _, name := range [...]string{"Access-Control-Allow-Origin", "Vary"} {
		if v := decided.Get(name); v != "" {
			b = append(append(append(append(b, name...), ": "...), v...), "\r\n"...)
		}
	}
	return append(b, "\r\n"...)
}
