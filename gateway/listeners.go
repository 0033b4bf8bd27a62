package gateway

import (
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
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s (%s): %w", address, key, err)
	}
	return l, nil
}

// server bounds whatever a client can make one wait for: the header, the body, the answer
// and the next request. The time for the answer begins here with the request, which may
// wait for its body and for the log before it is answered; where answers can be large it
// begins again with the answer. A WebSocket has none of these bounds.
func (n *Node) server(h http.Handler) *http.Server {
	var plain http.Protocols
	plain.SetHTTP1(true)
	return &http.Server{
		Handler: h, ReadHeaderTimeout: n.opt.HeaderTimeout, ReadTimeout: n.opt.BodyTimeout,
		WriteTimeout: n.opt.BodyTimeout + n.opt.PublishTimeout + n.opt.AnswerTimeout,
		IdleTimeout:  n.opt.IdleTimeout, MaxHeaderBytes: 32 << 10, Protocols: &plain,
		ConnContext: noteProxied,
		ErrorLog:    slog.NewLogLogger(n.opt.Logger.Handler(), slog.LevelDebug),
	}
}

// metricsHandler serves /metrics, which names channels.
func (n *Node) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(n.opt.Registry, promhttp.HandlerOpts{}))
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

// turnedAway counts a request that is not granted, other than one of the API, and leaves a
// trace of it.
func (n *Node) turnedAway(r *http.Request, what, code, reason string) {
	n.http.refuse("", code)
	about := []any{"request", what, "address", r.RemoteAddr, "code", code, "reason", reason}
	n.opt.Logger.Debug("a request was refused", about...)
	n.said.Warn(n.opt.Logger, what+"/"+code, "requests are refused", about...)
}

// withToken lets requests through that have the token as a bearer. Sums of both are
// compared, so that the time tells neither the token nor its length.
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
