package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/sluicehq/sluice/broker/seldom"
	"github.com/sluicehq/sluice/gateway/console"
	"github.com/sluicehq/sluice/gateway/hub"
	"github.com/sluicehq/sluice/gateway/lives"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/rest"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
	"github.com/sluicehq/sluice/gateway/webhook"
)

// Node is one gateway. Make it with [New], serve with [Node.Run].
type Node struct {
	opt      Options
	listener net.Listener
	metrics  net.Listener
	// operator is the listener of the console, and profiles that of the profiler; nil for none.
	operator, profiles net.Listener
	// plain is the listener for plain HTTP beside TLS; nil for none.
	plain net.Listener
	// tls is the configuration of listener; nil for no TLS.
	tls    *tls.Config
	hub    *hub.Hub
	roster *presence.Roster
	// lives is nil without a table.
	lives *lives.Log
	// agreement is nil without a table or without settings to compare.
	agreement *agreement
	hooks     *webhook.Hooks
	rest      *rest.API
	// console is nil if it is not configured.
	console *console.Console
	local   local
	proxies proxies
	// shakes is nil if silent connections are not bounded.
	shakes   *handshakes
	doors    doors
	errands  errands
	http     *httpMetrics
	draining atomic.Bool
	// staying is set during [hub.Hub.Stay], while the port is still open for connections that come back.
	staying atomic.Bool
	// said rate-limits the log lines about refused requests.
	said seldom.Lines
	// serving is the hub once it exists; problems may be read before.
	serving atomic.Pointer[hub.Hub]
}

// New binds the listeners, so that a port in use is reported at once, and prepares everything. The caller
// must call [Node.Run].
func New(opt Options) (*Node, error) {
	if err := opt.setDefaults(); err != nil {
		return nil, err
	}
	n := &Node{opt: opt, local: local{opt.Hosts}, proxies: proxies{opt.TrustedProxies, opt.ProxyHeader}}
	err := n.listen()
	if err != nil {
		return nil, err
	}
	port := strconv.Itoa(n.listener.Addr().(*net.TCPAddr).Port)
	n.registerLog(port)
	n.http = newHTTPMetrics(opt.Registry, opt.MetricsPrefix, port)
	n.http.begin(opt.Apps)
	n.opt.Hub.Apps, n.opt.Hub.Feed, n.opt.Hub.Logger, n.opt.Hub.Node = opt.Apps, opt.Log, opt.Logger, opt.Name
	n.opt.Hub.LogTime, n.opt.Hub.Refuse, n.opt.Hub.Network = opt.Log.Now, n.refusal, networkOf
	if opt.Memory != nil {
		n.opt.Hub.Scarce = opt.Memory.Refuse
	}
	n.opt.Hub.Metrics = hub.NewMetrics(opt.Registry, opt.MetricsPrefix, port, opt.MaxChannelLabels)
	n.openHandshakes()
	n.openDoors(port)
	n.openTLS(port)
	in := &intake{Log: opt.Log, apps: func() int { return len(opt.Apps.IDs()) }, maxEvents: opt.MaxPublishing, maxBytes: opt.MaxPublishingBytes, limited: n.opt.Hub.Metrics.Limited}
	in.register(opt.Registry, opt.MetricsPrefix, prometheus.Labels{"port": port})
	n.registerCapacity(prometheus.Labels{"port": port})
	n.opt.Hub.History, n.opt.Hub.Publisher, n.opt.Hub.PublishTimeout = opt.Log, in, opt.PublishTimeout
	if err = n.openHooks(port); err != nil {
		n.closeListeners()
		return nil, err
	}
	n.opt.Hub.Page, n.opt.Hub.Tracer = n.page, opt.Tracer
	n.opt.Hub.Herald = n.herald()
	if err = n.openRoster(port); err != nil {
		n.closeHooks(context.Background())
		n.closeListeners()
		return nil, err
	}
	if err = n.openLives(in); err == nil {
		n.hub, err = hub.New(n.opt.Hub)
	}
	if err != nil {
		n.closeLives()
		n.closeRoster(context.Background())
		n.closeHooks(context.Background())
		n.closeListeners()
		return nil, err
	}
	n.serving.Store(n.hub)
	n.openAgreement(port)
	n.openREST(in, port)
	n.openConsole()
	n.registerConsole(port)
	return n, nil
}

// registerLog registers the metrics of the process, and whether the log is ready.
func (n *Node) registerLog(port string) {
	opt := &n.opt
	opt.Registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: opt.MetricsPrefix + "log_ready", Help: "1 if publishing and attaching are expected to work, and nothing keeps clients from connecting.",
			ConstLabels: prometheus.Labels{"port": port},
		}, func() float64 {
			if opt.Log.Health().Ready && len(n.refusals()) == 0 {
				return 1
			}
			return 0
		}),
	)
	opt.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: opt.MetricsPrefix + "log_problems", Help: "Problems that readiness names.",
		ConstLabels: prometheus.Labels{"port": port},
	}, func() float64 { return float64(len(n.problems()) + len(n.refusals())) }))
}

// Addr returns the address for WebSockets and HTTP.
func (n *Node) Addr() string { return n.listener.Addr().String() }

// MetricsAddr returns the address of /metrics, empty if there is none.
func (n *Node) MetricsAddr() string {
	if n.metrics == nil {
		return ""
	}
	return n.metrics.Addr().String()
}

// PlainAddr returns the address of plain HTTP beside TLS, empty if there is none.
func (n *Node) PlainAddr() string {
	if n.plain == nil {
		return ""
	}
	return n.plain.Addr().String()
}

// Run serves until ctx is done. Then readiness answers no for [Options.ReadyDelay], the node drains, and Run
// returns. An error means that a listener failed.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fresh := &newcomers{open: map[net.Conn]struct{}{}}
	n.doors.begin()
	front := n.front(n.secured(n.behindProxies(n.public(&lastCalls{Listener: n.listener}), n.shakes)), fresh)
	main := n.server(n)
	n.speakTLS(main)
	main.ConnState = front.State
	servers, listeners := n.servers(main, front)
	failed := make(chan error, len(servers))
	var serving sync.WaitGroup
	for i, s := range servers {
		serving.Go(func() {
			err := s.Serve(listeners[i])
			if !errors.Is(err, http.ErrServerClosed) && !(n.draining.Load() && errors.Is(err, net.ErrClosed)) {
				failed <- fmt.Errorf("serving %s: %w", listeners[i].Addr(), err)
				cancel()
			}
		})
	}
	var agreeing sync.WaitGroup
	if n.agreement != nil {
		agreeing.Go(func() { n.agreement.run(ctx) })
	}
	if n.opt.TLS != nil {
		agreeing.Go(func() { n.opt.TLS.Run(ctx, n.listener.Addr()) })
	}
	<-ctx.Done()
	n.draining.Store(true)
	n.announce(failed)
	n.doors.open()
	n.opt.Logger.Info("stopping: connections are asked to come back elsewhere", "connections", n.hub.Connections(), "time_left", n.opt.Drain)
	began := time.Now()
	drain, stop := context.WithTimeout(context.Background(), n.opt.Drain)
	defer stop()
	letGo := n.stay(drain)
	_ = front.Close()
	<-front.Accepted()
	letGo()
	fresh.heard(drain, n.opt.Drain/4)
	pages := n.closeConsole()
	serving.Go(func() { front.Shutdown(drain) })
	shut := n.finishRequests(drain, main)
	// Half of the time is for asking connections to leave, the other half for their leaving.
	n.hub.Drain(drain, n.opt.Drain/2)
	select {
	case <-pages:
	case <-drain.Done():
	}
	if err := n.hub.Close(drain); err != nil {
		n.opt.Logger.Warn("connections were closed before they had left", "error", err)
	}
	<-shut
	<-pages // The end of the hub ends at the latest whatever a page waits for.
	agreeing.Wait()
	n.closeLives()
	leave, left := context.WithTimeout(context.Background(), max(n.opt.Drain-time.Since(began), farewell))
	defer left()
	n.closeRoster(leave)
	n.closeHooks(leave)
	for _, s := range servers[1:] {
		shutdown(drain, s)
	}
	serving.Wait()
	front.Wait()
	close(failed)
	return <-failed
}

// farewell is the minimum time for leaving the cluster, however short the drain is. Without it, other
// gateways count the members of this one until its lease ends.
const farewell = 2 * time.Second

// stay asks connections to leave while the port is still open, if no other gateway is known that could take
// them. If there is another gateway, the port must close at once so that proxies notice. The returned
// function releases the connections that have come back.
func (n *Node) stay(ctx context.Context) (letGo func()) {
	if n.opt.Linger <= 0 || n.roster != nil && n.roster.Company() {
		return func() {}
	}
	n.staying.Store(true)
	return n.hub.Stay(ctx, n.opt.Drain/2, n.opt.Linger)
}

// announce lets readiness answer no for ReadyDelay while everything else continues. It returns at once if a
// listener has failed, because then nothing can continue.
func (n *Node) announce(failed chan error) {
	if n.opt.ReadyDelay == 0 || len(failed) > 0 {
		return
	}
	n.opt.Logger.Info("asked to stop; /ready answers 503 and everything else goes on for a while", "for", n.opt.ReadyDelay)
	timer := time.NewTimer(n.opt.ReadyDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case err := <-failed:
		failed <- err
	}
}

// shutdown stops a server gracefully, and closes it when ctx is done.
func shutdown(ctx context.Context, s *http.Server) {
	if s.Shutdown(ctx) != nil {
		_ = s.Close()
	}
}

// ServeHTTP routes a request. Paths are not cleaned, because a channel name may be any text and is part of
// what a signature covers.
func (n *Node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer n.errands.begin(n.lasts(r))()
	r, shake := n.arrive(r)
	if n.draining.Load() && !websocket.Asked(r.Header) {
		// A proxy with persistent connections would send further requests here, some of them into a
		// connection that is being closed.
		w.Header().Set("Connection", "close")
	}
	path, ok := strings.CutPrefix(r.URL.Path, n.opt.PathPrefix)
	if !ok {
		n.nowhere(w, r, shake)
		return
	}
	api := strings.HasPrefix(path, "/apps/") || strings.HasPrefix(path, "/users/")
	socket := path == "/app" || strings.HasPrefix(path, "/app/")
	if toConsole := n.console != nil && n.operator == nil && strings.HasPrefix(path, console.Root); !api && !toConsole && !(socket && r.Method == http.MethodGet && websocket.Asked(r.Header)) {
		rest.TurnAway(w, r) // nothing here reads a body
	}
	switch {
	case socket && n.staying.Load() && !websocket.Asked(r.Header):
		// Browsers give up an event stream for good if it is answered with an error, but reconnect if the
		// connection breaks.
		panic(http.ErrAbortHandler)
	case socket:
		n.toHub(w, stripped(r, n.opt.PathPrefix), shake)
	case api:
		n.rest.ServeHTTP(w, stripped(r, n.opt.PathPrefix))
	case path == "/health", path == "/up":
		n.health(w, r)
	case strings.HasPrefix(path, "/up/"):
		n.up(w, r, path[len("/up/"):])
	case path == "/ready":
		n.ready(w, r)
	case n.console != nil && n.operator == nil && strings.HasPrefix(path, console.Root):
		n.console.ServeHTTP(w, stripped(r, n.opt.PathPrefix))
	case n.opt.Page != nil && !websocket.Asked(r.Header) && (path == "/" || path == "/console" || path == "/console/" || strings.HasPrefix(path, "/assets/")):
		if n.opt.Local && !n.local.isHost(r.Host) {
			n.turnedAway(r, "page", "forbidden", n.refusal(r, nil))
			rest.Forbidden(w, r, n.refusal(r, nil))
			return
		}
		n.opt.Page.ServeHTTP(w, stripped(r, n.opt.PathPrefix))
	default:
		n.nowhere(w, r, shake)
	}
}

// toHub passes a request to the hub after its turn at the door, or answers 503 if there is no room.
func (n *Node) toHub(w http.ResponseWriter, r *http.Request, shake func() (end func(), ok bool)) {
	if n.scarceFor(r) || n.crowded(r) {
		rest.Busy(w, r, "this server is full; retry soon")
		return
	}
	if !n.letIn(r) {
		return // The client has gone.
	}
	if n.scarceFor(r) { // Memory may have become scarce meanwhile.
		rest.Busy(w, r, "this server is full; retry soon")
		return
	}
	end, ok := shake()
	if !ok {
		rest.Busy(w, r, "too many handshakes of this address are under way")
		return
	}
	defer end()
	n.hub.ServeHTTP(w, r)
}

// nowhere answers a request for an unknown path. A WebSocket is passed to the hub, which completes the
// upgrade and closes with 4005. A browser tells its page nothing of an upgrade that fails otherwise, and
// clients would retry forever.
func (n *Node) nowhere(w http.ResponseWriter, r *http.Request, shake func() (end func(), ok bool)) {
	if r.Method == http.MethodGet && websocket.Asked(r.Header) {
		// With another slash in front, no path is valid for the hub, even if only path_prefix was missing.
		n.toHub(w, withPath(r, "/"+r.URL.Path, ""), shake)
		return
	}
	rest.TurnAway(w, r)
	n.turnedAway(r, "unknown", "not_found", fmt.Sprintf("there is nothing at %.100q", r.URL.Path))
	rest.NotFound(w, r)
}

func stripped(r *http.Request, prefix string) *http.Request {
	if prefix == "" {
		return r
	}
	return withPath(r, strings.TrimPrefix(r.URL.Path, prefix), strings.TrimPrefix(r.URL.RawPath, prefix))
}

func withPath(r *http.Request, path, raw string) *http.Request {
	out := *r
	u := *r.URL
	u.Path, u.RawPath = path, raw
	out.URL = &u
	return &out
}
