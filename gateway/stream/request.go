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

// MaxChannels bounds the channels of one stream: its ids name the places in all of them, and
// browsers send them back in a header.
const MaxChannels = 100

// Limits bound what one request may ask for.
type Limits struct {
	// Channels is the most that one connection may subscribe to, FilterBytes what its filters
	// may take in memory.
	Channels, FilterBytes int
	// History says that there is a past.
	History bool
	Now     time.Time
}

// Path tells whether a request is for a stream, and of which app.
func Path(r *http.Request) (key string, ok bool) {
	rest, found := strings.CutPrefix(r.URL.Path, "/app/")
	key, ok = strings.CutSuffix(rest, "/events")
	return key, found && ok && key != "" && !strings.Contains(key, "/") && !websocket.Asked(r.Header)
}

// AllowOrigin lets the page that asks read the answer. The app allows it.
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

// Preflight answers browsers that ask whether they may ask, and tells whether this was such a request.
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

// Read reads a request of an app, and says what is wrong with it.
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

// opening is the first line of a stream.
var opening = []byte("retry: 2000\n:\n\n")

// head is the head of an answer of HTTP/1.1 that is a stream, with what was decided about origins.
// It ends with the connection.
func head(decided http.Header) []byte {
	b := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\nConnection: close\r\n")
	for _, name := range [...]string{"Access-Control-Allow-Origin", "Vary"} {
		if v := decided.Get(name); v != "" {
			b = append(append(append(append(b, name...), ": "...), v...), "\r\n"...)
		}
	}
	return append(b, "\r\n"...)
}
