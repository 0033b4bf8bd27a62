package gateway

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/console"
	"github.com/sluicehq/sluice/gateway/rest"
)

// ConsoleOptions configure the console of a node.
type ConsoleOptions struct {
	// Listen is the address of its listener. Empty serves it on that of the node, to requests of
	// this machine alone; for development.
	Listen string
	// Token must be had by whoever looks at it. Without one a listener serves requests of this
	// machine, by a name of this machine, and must have a loopback address.
	Token app.Secret
	// Hosts are names by which it may be reached beside those of this machine and addresses.
	Hosts []string
	// Page answers requests for other paths than those of the API on its own listener.
	Page http.Handler
	// Streams lists what the log consists of, and says why that is not everything; nil where
	// there is nothing to list.
	Streams func(context.Context) ([]console.Stream, string)
}

// listen is the address of its listener, empty for none.
func (o *ConsoleOptions) listen() string {
	if o == nil {
		return ""
	}
	return o.Listen
}

// openConsole makes the console, once there is a hub.
func (n *Node) openConsole() {
	o := n.opt.Console
	if o == nil {
		return
	}
	opt := console.Options{
		Gateway: overlook{n}, History: n.opt.Log, Apps: n.opt.Apps.IDs, Refuse: n.notForConsole,
		Refused: func(r *http.Request, code, reason string) { n.turnedAway(r, "console", code, reason) },
		Node:    n.opt.Name, Version: n.opt.Version, Logger: n.opt.Logger, Beside: n.operator == nil && n.opt.Page != nil, LogTime: n.opt.Log.Now,
	}
	if n.operator != nil {
		opt.Token, opt.Refuse = o.Token, n.notForOperators
		// Behind proxies of one host there may be consoles of several machines.
		machine, _ := os.Hostname()
		opt.Instance = machine + " " + n.operator.Addr().String()
	}
	n.console = console.New(opt)
}

// registerConsole registers what the console says of itself, which is nothing without one.
func (n *Node) registerConsole(port string) {
	labels := prometheus.Labels{"port": port}
	n.opt.Registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: n.opt.MetricsPrefix + "console_streams", Help: "Pages of the console that are open.", ConstLabels: labels,
		}, func() float64 { return float64(n.console.Streams()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: n.opt.MetricsPrefix + "console_events_skipped_total", Help: "Events that were not shown in the console because the page was too slow.", ConstLabels: labels,
		}, func() float64 { return float64(n.console.Skipped()) }),
	)
}

// notForConsole says why a request is not for the console on the listener of the node.
func (n *Node) notForConsole(r *http.Request) string {
	if !n.allowUnsigned(r) {
		return "the console of a development server is for this machine alone"
	}
	return n.local.refusal(r, nil)
}

// notForOperators says why a request is not for the console on its own listener. A page of
// another site can have a name that leads here (DNS rebinding), but none that is an address or
// that we know.
func (n *Node) notForOperators(r *http.Request) string {
	known := local{n.opt.Console.Hosts}
	if n.opt.Console.Token == "" {
		if !isLoopback(r.RemoteAddr) || forwarded(r) {
			return "without console.token the console is for this machine alone"
		}
		return known.refusal(r, nil)
	}
	if !known.isHost(r.Host) && !isAddress(r.Host) {
		return fmt.Sprintf("Host is %.100q, must be localhost, an address, or be among allowed_hosts", r.Host)
	}
	return ""
}

// isAddress tells whether a host, with or without a port, is an address.
func isAddress(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil
}

// ConsoleAddr is the address of the console, empty if it has no listener of its own.
func (n *Node) ConsoleAddr() string {
	if n.operator == nil {
		return ""
	}
	return n.operator.Addr().String()
}

// operatorsHandler serves the console on its own listener.
func (n *Node) operatorsHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, console.Root) {
			n.console.ServeHTTP(w, r)
			return
		}
		if reason := n.notForOperators(r); reason != "" {
			rest.TurnAway(w, r)
			n.turnedAway(r, "console", "forbidden", reason)
			rest.Forbidden(w, r, reason)
			return
		}
		n.opt.Console.Page.ServeHTTP(w, r)
	})
}

// closeConsole ends the event streams of the console. done is closed when they have ended, which
// nobody who drains should wait for: a page may be taking nothing, or wait for the log.
func (n *Node) closeConsole() (done <-chan struct{}) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if n.console != nil {
			n.console.Close()
		}
	}()
	return ended
}

// profiler serves profiles to requests of this machine.
func (n *Node) profiler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reason := (local{}).refusal(r, nil)
		if !isLoopback(r.RemoteAddr) || forwarded(r) {
			reason = "profiles are for this machine alone"
		}
		if reason != "" {
			rest.TurnAway(w, r)
			n.turnedAway(r, "pprof", "forbidden", reason)
			rest.Forbidden(w, r, reason)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// PprofAddr is the address of the profiler, empty if there is none.
func (n *Node) PprofAddr() string {
	if n.profiles == nil {
		return ""
	}
	return n.profiles.Addr().String()
}
