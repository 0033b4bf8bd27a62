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
	// Listen is the address of its own listener. If it is empty, the console is served on the listener of the
	// node, to requests from this machine only; this is for development.
	Listen string
	// Token is required from every client of the console. Without a token, a listener of its own must have a
	// loopback address, and serves only requests from this machine that use a name of this machine.
	Token app.Secret
	// Hosts are further host names that requests may use, in addition to addresses and the names of this
	// machine.
	Hosts []string
	// Page serves all paths of the console's own listener that do not belong to the API.
	Page http.Handler
	// Streams lists the streams of the log; the text says why the list is incomplete. nil if the log has no
	// streams.
	Streams func(context.Context) ([]console.Stream, string)
}

// listen returns the address of the console's own listener, empty for none.
func (o *ConsoleOptions) listen() string {
	if o == nil {
		return ""
	}
	return o.Listen
}

// openConsole creates the console. The hub must exist.
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
		// Consoles of several machines may be behind proxies on one host.
		machine, _ := os.Hostname()
		opt.Instance = machine + " " + n.operator.Addr().String()
	}
	n.console = console.New(opt)
}

// registerConsole registers the metrics of the console. They exist without a console as well.
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

// notForConsole returns why a request may not use the console on the listener of the node, "" if it may.
func (n *Node) notForConsole(r *http.Request) string {
	if !n.allowUnsigned(r) {
		return "the console of a development server is for this machine alone"
	}
	return n.local.refusal(r, nil)
}

// notForOperators returns why a request may not use the console on its own listener, "" if it may. A page of
// another site can use a host name that resolves to this machine (DNS rebinding), but not an address or a
// known name.
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

// isAddress reports whether a host, with or without a port, is an IP address.
func isAddress(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil
}

// ConsoleAddr returns the address of the console, empty if it has no listener of its own.
func (n *Node) ConsoleAddr() string {
	if n.operator == nil {
		return ""
	}
	return n.operator.Addr().String()
}

// operatorsHandler serves the listener of the console.
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

// closeConsole ends the event streams of the console. done is closed when they have ended. A drain should not
// wait for it: the client of a page may have stopped reading, or the page may wait for the log.
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

// profiler serves profiles to requests from this machine.
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

// PprofAddr returns the address of the profiler, empty if there is none.
func (n *Node) PprofAddr() string {
	if n.profiles == nil {
		return ""
	}
	return n.profiles.Addr().String()
}
