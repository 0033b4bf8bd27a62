package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/rest"
)

func listen(key, address string) (net.Listener, error) {
	config := listening()
	l, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s (%s): %w", address, key, err)
	}
	return l, nil
}

// listen binds all listeners, or none.
func (n *Node) listen() (err error) {
	if n.listener, err = listen("port", n.opt.Listen); err != nil {
		return err
	}
	for _, l := range []struct {
		to           *net.Listener
		key, address string
	}{
		{&n.metrics, "metrics.port", n.opt.MetricsListen}, {&n.operator, "console.port", n.opt.Console.listen()}, {&n.profiles, "debug.pprof", n.opt.Pprof},
		{&n.plain, "tls.http_port", n.opt.PlainListen},
	} {
		if l.address == "" {
			continue
		}
		if *l.to, err = listen(l.key, l.address); err != nil {
			n.closeListeners()
			return err
		}
	}
	return nil
}

func (n *Node) closeListeners() {
	for _, l := range []net.Listener{n.listener, n.metrics, n.operator, n.profiles, n.plain} {
		if l != nil {
			_ = l.Close()
		}
	}
}

// servers returns the HTTP servers of the node and the listener of each. main is the first; it gets the
// connections that front passes on.
func (n *Node) servers(main *http.Server, front net.Listener) ([]*http.Server, []net.Listener) {
	servers := []*http.Server{main}
	listeners := []net.Listener{front}
	beside := func(l net.Listener, h func() http.Handler) {
		if l != nil {
			servers = append(servers, n.server(h()))
			listeners = append(listeners, n.operators(l))
		}
	}
	beside(n.metrics, n.metricsHandler)
	beside(n.operator, n.operatorsHandler)
	if n.operator != nil && n.ConsoleSecured() {
		n.speakTLS(servers[len(servers)-1])
		listeners[len(listeners)-1] = n.secured(listeners[len(listeners)-1])
	}
	beside(n.profiles, n.profiler)
	if n.plain != nil {
		s, l := n.plainly()
		servers, listeners = append(servers, s), append(listeners, l)
	}
	return servers, listeners
}

// server makes an HTTP server that bounds everything for which a client can make it wait: the header, the
// body, the answer and the next request. The time for the answer begins with the request here, and includes
// waiting for the body and for the log. Where answers can be large, their time begins again with the answer.
// None of these bounds applies to a WebSocket.
func (n *Node) server(h http.Handler) *http.Server {
	var plain http.Protocols
	plain.SetHTTP1(true)
	return &http.Server{
		Handler: h, ReadHeaderTimeout: n.opt.HeaderTimeout, ReadTimeout: n.opt.BodyTimeout,
		WriteTimeout: n.opt.BodyTimeout + n.opt.PublishTimeout + n.opt.AnswerTimeout,
		IdleTimeout:  n.opt.IdleTimeout, MaxHeaderBytes: 32 << 10, Protocols: &plain,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return noteTurn(noteProxied(ctx, c), c) },
		ErrorLog:    slog.NewLogLogger(n.opt.Logger.Handler(), slog.LevelDebug),
	}
}

// metricsHandler serves /metrics, /health and /ready. This listener has a reserve of descriptors, so that
// probes are answered when the public listener is full.
func (n *Node) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", n.guardedMetrics())
	mux.HandleFunc("/health", n.health)
	mux.HandleFunc("/ready", n.ready)
	return mux
}

// maxScrapes bounds concurrent requests for metrics, each of which visits all channels with labels.
const maxScrapes = 16

// guardedMetrics serves /metrics. Access is restricted because metrics contain names of channels.
func (n *Node) guardedMetrics() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(n.opt.Registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes}))
	at, _ := n.metrics.Addr().(*net.TCPAddr)
	switch {
	case n.opt.MetricsToken != "":
		return withToken(n.opt.MetricsToken, mux, func(r *http.Request) {
			n.turnedAway(r, "metrics", "auth_failed", "the request has not metrics.token")
		})
	case at != nil && at.IP.IsLoopback():
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if reason := n.local.refusal(r, nil); reason != "" {
				rest.TurnAway(w, r)
				n.turnedAway(r, "metrics", "forbidden", reason)
				rest.Forbidden(w, r, reason)
				return
			}
			mux.ServeHTTP(w, r)
		})
	}
	return mux
}

// turnedAway counts and logs a refused request that is not one of the API.
func (n *Node) turnedAway(r *http.Request, what, code, reason string) {
	n.http.refuse("", code)
	about := []any{"request", what, "address", r.RemoteAddr, "code", code, "reason", reason}
	n.opt.Logger.Debug("a request was refused", about...)
	n.said.Warn(n.opt.Logger, what+"/"+code, "requests are refused", about...)
}

// withToken passes on requests that have the token as a bearer token. It compares hashes, so that the time
// reveals neither the token nor its length.
func withToken(token app.Secret, h http.Handler, refused func(*http.Request)) http.Handler {
	want := sha256.Sum256([]byte(token.Reveal()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var given string
		if all := r.Header.Values("Authorization"); len(all) == 1 {
			if scheme, credentials, ok := strings.Cut(all[0], " "); ok && strings.EqualFold(scheme, "Bearer") {
				given = strings.TrimLeft(credentials, " ")
			}
		}
		got := sha256.Sum256([]byte(given))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="metrics"`)
			rest.TurnAway(w, r)
			refused(r)
			rest.Unauthorized(w, r, "metrics are for those who have metrics.token")
			return
		}
		h.ServeHTTP(w, r)
	})
}
