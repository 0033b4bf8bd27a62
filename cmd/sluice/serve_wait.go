package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker/seldom"
	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway"
)

// waitPause is the time between two attempts to open a log that must be repaired by hand.
const waitPause = 2 * time.Second

// mended retries opening the log of an embedded server until it succeeds, after the error err. The log is
// repaired with the nats command, which needs the server; so the process keeps running, and answers /ready with
// the reason. The returned error is that of the last attempt, when ctx is done or the server has failed.
func mended(ctx context.Context, c *configs.Config, b *backend, log *slog.Logger, err error, open func() error) error {
	page := &waiting{prefix: c.PathPrefix}
	stop, listenErr := page.serve(c, log)
	defer stop()
	if listenErr != nil {
		return errors.Join(err, listenErr)
	}
	super := &supervisor{log: log}
	tick := time.NewTicker(waitPause)
	defer tick.Stop()
	var lines seldom.Lines
	for err != nil {
		page.problem.Store(&err)
		lines.Error(log, "open", "the log cannot be opened, which is tried again; the NATS server stays, so that it can be mended",
			"error", err, "nats", b.natsURL, "http", page.address, "metrics", page.metrics, "plain", page.plain)
		super.waiting(err)
		select {
		case <-ctx.Done():
			return err
		case broken := <-b.server.Failed():
			return errors.Join(err, broken)
		case <-tick.C:
			if again := open(); again == nil || ctx.Err() == nil {
				err = again
			}
		}
	}
	log.Info("the log is open now")
	return nil
}

// waiting answers while there is no log: alive, but not ready.
type waiting struct {
	prefix string
	// address is the address for clients, plain that for plain HTTP beside TLS, and metrics that of the metrics;
	// empty if there is none.
	address, plain, metrics string
	problem                 atomic.Pointer[error]
}

// serve listens where the server will, until stop is called. stop must be called also after an error.
func (w *waiting) serve(c *configs.Config, log *slog.Logger) (stop func(), err error) {
	var ends []func()
	stop = func() {
		for _, end := range ends {
			end()
		}
	}
	// listen adds the name of the listener to its error.
	listen := func(what, address string) (net.Listener, string, error) {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", what, err)
		}
		return l, l.Addr().String(), nil
	}
	at := func(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
	opt := gateway.Options{Logger: log}
	if err := secure(&opt, c); err != nil {
		return stop, err
	}
	l, address, err := listen("http", at(c.Host, c.Port))
	if err != nil {
		return stop, err
	}
	if w.address = address; opt.TLS != nil {
		config := opt.TLS.Config()
		config.NextProtos = append([]string{"http/1.1"}, config.NextProtos...)
		ends = append(ends, keepCurrent(opt.TLS, l.Addr()))
		l = tls.NewListener(l, config)
	}
	ends = append(ends, w.on(l, w))
	if opt.PlainListen != "" {
		if l, w.plain, err = listen("tls.http_port", opt.PlainListen); err != nil {
			return stop, err
		}
		ends = append(ends, w.on(l, opt.TLS.Challenge(w)))
	}
	if c.Metrics.Port < 0 {
		return stop, nil
	}
	if l, w.metrics, err = listen("metrics", at(c.Metrics.Host, c.Metrics.Port)); err != nil {
		return stop, err
	}
	ends = append(ends, w.on(l, w))
	return stop, nil
}

// keepCurrent keeps certificates current until stop is called.
func keepCurrent(all gateway.Certificates, at net.Addr) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { all.Run(ctx, at) })
	return func() { cancel(); running.Wait() }
}

// on serves a listener until stop is called.
func (w *waiting) on(l net.Listener, answers http.Handler) (stop func()) {
	s := &http.Server{
		Handler: answers, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	s.SetKeepAlivesEnabled(false)
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	return func() { _ = s.Close(); serving.Wait() }
}

func (w *waiting) ServeHTTP(to http.ResponseWriter, r *http.Request) {
	to.Header().Set("Content-Type", "application/json")
	to.Header().Set("Cache-Control", "no-store")
	// Paths of the metrics listener have no prefix.
	switch strings.TrimPrefix(r.URL.Path, w.prefix) {
	case "/health", "/up":
		_, _ = to.Write([]byte(`{"status":"ok"}` + "\n"))
		return
	}
	var problems []string
	if err := w.problem.Load(); err != nil {
		problems = strings.Split((*err).Error(), "\n")
	}
	to.Header().Set("Retry-After", "2")
	to.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(to).Encode(map[string]any{"ready": false, "backend": "jetstream", "problems": problems})
}
