package gateway

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
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
		ErrorLog: slog.NewLogLogger(n.opt.Logger.Handler(), slog.LevelDebug),
	}
}

// metricsHandler serves /metrics.
func (n *Node) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(n.opt.Registry, promhttp.HandlerOpts{}))
	return mux
}
