package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// Options configure a [Client].
type Options struct {
	// URL of the server: http, https, ws or wss, with an optional path prefix. Host ("host:port") and Secure may
	// be used instead.
	URL    string
	Host   string
	Secure bool
	// Key is the app key. Required.
	Key string
	// Protocol is the dialect, [pusher.V1] by default.
	Protocol pusher.Dialect
	// Delta enables delta compression for the whole connection.
	Delta bool
	// Algorithms are the delta formats that the server may choose from, by their names on the wire. The default
	// is fossil and xdelta3.
	Algorithms []string
	// Auth signs subscriptions to channels that need it. It is called by the goroutine that subscribes, and
	// after a reconnect by goroutines of the client, so it must be safe for concurrent use. A subscription that
	// it does not sign is given up, also after a reconnect, which [Options.OnStatus] then reports.
	Auth func(socketID, channel string) (auth, channelData string, err error)
	// Reconnect lets the client reconnect and subscribe again.
	Reconnect bool
	// NoResume disables resuming, so that missed events are not requested. Otherwise subscriptions of the second
	// dialect continue after their last event (protocol section 5.3).
	NoResume bool
	// OnEvent, if set, gets each event in the reading goroutine; it must not call Subscribe or Close. Otherwise
	// events are read from [Client.Events].
	OnEvent func(Event)
	// OnControl gets protocol events after the client has handled them, under the same conditions.
	OnControl func(Event)
	// OnStatus is called when the connection is lost and restored. It must not call Subscribe or Close.
	OnStatus func(Status)
	// Buffer is how many events [Client.Events] holds before the client stops reading, default 256.
	Buffer int
	// MaxFrame bounds the bytes of a frame, default 8 MiB, and MaxBases those of all bases, default 64 MiB.
	MaxFrame, MaxBases int
	// ActivityTimeout is how long the server may be silent before it is pinged, default 120 s; a shorter time
	// from the server has precedence. PongTimeout is how long it may take to answer, default 30 s.
	ActivityTimeout, PongTimeout time.Duration
	// HandshakeTimeout bounds connecting, including the server's greeting, default 10 s.
	HandshakeTimeout time.Duration
	// MinBackoff and MaxBackoff bound the pause between attempts, default 1 s and 30 s.
	MinBackoff, MaxBackoff time.Duration
	// TLS is used for secure connections; nil means the defaults.
	TLS *tls.Config
	// Dial opens the connection below the WebSocket; nil means TCP.
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Logger *slog.Logger
}

// defaultFrame has room for the largest possible event: a megabyte of characters, each of which takes six bytes
// in JSON.
const defaultFrame = 8 << 20

// Status describes a change of the connection.
type Status struct {
	// Connected says whether there is a connection, with this SocketID; Err is the reason otherwise.
	Connected bool
	SocketID  string
	Err       error
	// Retry is the pause before the next attempt after the connection was lost.
	Retry time.Duration
	// Gap says which events of a channel were missed.
	Gap *Gap
	// Recovered is set once after each reconnect, when all resumable subscriptions are live again; it lists the
	// gaps of the others. If nothing can be resumed, as in the first dialect, it is set together with Connected.
	Recovered *Recovery
}

// endpoint is the address of the server.
type endpoint struct {
	address string // host:port
	url     string // ws://host:port/prefix/app/KEY?...
	name    string // host, for TLS
	secure  bool
}

func (o *Options) setDefaults() error {
	if o.Key == "" {
		return errors.New("client: Key is required")
	}
	if len(o.Algorithms) == 0 {
		o.Algorithms = []string{"fossil", "xdelta3"}
	}
	if o.Buffer <= 0 {
		o.Buffer = 256
	}
	if o.MaxFrame <= 0 {
		o.MaxFrame = defaultFrame
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&o.ActivityTimeout, 120 * time.Second}, {&o.PongTimeout, 30 * time.Second},
		{&o.HandshakeTimeout, 10 * time.Second}, {&o.MinBackoff, time.Second}, {&o.MaxBackoff, 30 * time.Second},
	} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// parseURL parses the address of a server; ws and http are equivalent.
func parseURL(text string) (*url.URL, error) {
	// Without a scheme, the parser would complain about colons instead.
	if !strings.Contains(text, "://") {
		return nil, fmt.Errorf("client: URL %q must begin with http://, https://, ws:// or wss://", text)
	}
	u, err := url.Parse(text)
	if err != nil {
		// The parser's error contains the whole text, which may have a password.
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, fmt.Errorf("client: URL: %w", err)
	}
	switch u.Scheme {
	case "http", "ws":
		u.Scheme = "http"
	case "https", "wss":
		u.Scheme = "https"
	default:
		return nil, fmt.Errorf("client: URL %q must begin with http://, https://, ws:// or wss://", u.Redacted())
	}
	if u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("client: URL %q must have a host, an optional path and nothing else", u.Redacted())
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	u.RawPath = ""
	return u, nil
}

func (o *Options) endpoint() (endpoint, error) {
	text := o.URL
	if text == "" {
		scheme := "ws://"
		if o.Secure {
			scheme = "wss://"
		}
		text = scheme + o.Host
	}
	u, err := parseURL(text)
	if err != nil {
		return endpoint{}, err
	}
	e := endpoint{secure: u.Scheme == "https", name: u.Hostname()}
	scheme, port := "ws", "80"
	if e.secure {
		scheme, port = "wss", "443"
	}
	if p := u.Port(); p != "" {
		port = p
	}
	e.address = net.JoinHostPort(u.Hostname(), port)
	protocol := 7
	if o.Protocol == pusher.V2 {
		protocol = 2
	}
	e.url = scheme + "://" + u.Host + u.EscapedPath() + "/app/" + url.PathEscape(o.Key) +
		"?protocol=" + strconv.Itoa(protocol) + "&client=sluice-go&version=1"
	return e, nil
}
