package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/spf13/cobra"

	"github.com/sluicehq/sluice/cmd/sluice/doctor"
	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/process"
)

// tlsName returns the name of a TLS version.
func tlsName(version uint16) string { return tls.VersionName(version) }

// filesOf returns the limit of descriptors of this process, 0 if it is unknown.
func filesOf() int { return (&process.Descriptors{}).Limit() }

// ownQuery marks the requests that this command sends itself. ownPath is their path, which a proxy must not
// decode, like those of channels with such characters.
const (
	ownQuery = "sluice-doctor"
	ownPath  = "/app/doctor%3B%2Cpath"
)

// watch listens in place of a server, and shows and judges the requests that arrive.
func (o *doctorOptions) watch(cmd *cobra.Command, c doctor.Configuration) (*doctor.Report, error) {
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.listen)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, hinted{err, "Stop the server that listens there for the moment: this command takes its place."}
		}
		return nil, fmt.Errorf("cannot listen on %q (--listen, an address and a port such as :6001): %w", o.listen, err)
	}
	w := &watcher{proxies: proxiesOf(c, o.url), out: cmd.OutOrStdout()}
	if o.asJSON {
		w.out = cmd.ErrOrStderr()
	}
	server := &http.Server{Handler: w, ReadHeaderTimeout: 10 * time.Second, ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, c)
	}}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(eitherWay{l}) }()
	defer func() { _ = server.Close(); <-ended }()
	fmt.Fprintf(cmd.ErrOrStderr(), "listening on %s in place of a server; Ctrl-C to end\n", l.Addr())
	var found []doctor.Finding
	if o.url == "" {
		<-ctx.Done()
		found = w.last()
	} else {
		token := rand.Text()[:12]
		w.mark(token)
		err := o.send(ctx, token)
		if found = w.last(); found == nil {
			found = []doctor.Finding{notArrived(shownAddress(o.url), err)}
		}
	}
	return doctor.NewReport(versionText(), found), nil
}

func notArrived(address string, err error) doctor.Finding {
	is := "a request to " + address + " did not arrive here"
	if err != nil {
		is += ": " + err.Error()
	}
	return doctor.Finding{Level: doctor.Error, Area: "proxy", Check: "way", Is: is, Do: "Check where the proxy sends requests to: it must be this address and port, with the path as it is."}
}

// send sends a WebSocket handshake to the public address, and returns when it was answered.
func (o *doctorOptions) send(ctx context.Context, token string) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	address := o.url + ownPath + "?" + ownQuery + "=" + token
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
	r.Header.Set("Origin", r.URL.Scheme+"://"+r.URL.Host)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// A WebSocket handshake is HTTP/1.1.
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.tls != nil {
		config = o.tls.Clone()
	}
	config.NextProtos = []string{"http/1.1"}
	transport.ForceAttemptHTTP2, transport.TLSClientConfig = false, config
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			return u.Err
		}
		return err
	}
	return answer.Body.Close()
}

func proxiesOf(c doctor.Configuration, public string) doctor.Proxies {
	p := doctor.Proxies{Header: "auto", Protocol: "optional"}
	if c.Err == nil {
		p = doctor.Proxies{Trusted: c.Config.TrustedProxies, Header: c.Config.ProxyHeader, Protocol: c.Config.ProxyProtocol, Prefix: c.Config.PathPrefix}
	}
	if u, err := url.Parse(public); err == nil && public != "" {
		p.PublicHost, p.Sent = u.Hostname(), u.EscapedPath()+ownPath
	}
	return p
}

type connKey struct{}

// eitherWay accepts connections with or without a PROXY header, from anybody. Nothing here depends on it.
type eitherWay struct{ net.Listener }

func (l eitherWay) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return proxyproto.NewConn(c, proxyproto.WithPolicy(proxyproto.USE)), nil
}

// watcher answers requests, and prints and judges them.
type watcher struct {
	proxies doctor.Proxies
	out     io.Writer

	mu sync.Mutex
	// token marks the requests that count, empty if all do.
	token string
	found []doctor.Finding
}

// ServeHTTP implements [http.Handler].
func (w *watcher) ServeHTTP(answer http.ResponseWriter, r *http.Request) {
	a := doctor.Arrival{Method: r.Method, Path: r.URL.RequestURI(), Host: r.Host, Header: r.Header}
	if c, ok := r.Context().Value(connKey{}).(*proxyproto.Conn); ok {
		a.Peer = addressOfConn(c.Raw().RemoteAddr())
		if h := c.ProxyHeader(); h != nil && h.SourceAddr != nil {
			a.Claimed = addressOfConn(h.SourceAddr)
		}
	}
	found := doctor.JudgeArrival(a, w.proxies)
	w.mu.Lock()
	_, _ = io.WriteString(w.out, describeArrival(a))
	if w.token == "" {
		_ = doctor.NewReport("", found).Print(w.out, false)
		_, _ = io.WriteString(w.out, "\n")
	}
	if strings.Contains(a.Path, w.token) {
		w.found = found
	}
	w.mu.Unlock()
	_, _ = io.WriteString(answer, "sluice doctor was here\n")
}

// mark makes only requests with a token count.
func (w *watcher) mark(token string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.token = token
}

// last returns the findings for the last request that counts, nil if none arrived.
func (w *watcher) last() []doctor.Finding {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.found
}

func addressOfConn(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// describeArrival returns a request as text without its secrets.
func describeArrival(a doctor.Arrival) string {
	var b strings.Builder
	path, _, _ := strings.Cut(a.Path, "?")
	fmt.Fprintf(&b, "%s %s %s from %s\n", clockOf(time.Now()), a.Method, shorten(path, 200), a.Peer)
	if a.Claimed.IsValid() {
		fmt.Fprintf(&b, "  PROXY protocol: %s\n", a.Claimed)
	}
	fmt.Fprintf(&b, "  Host: %s\n", shorten(a.Host, 200))
	names := make([]string, 0, len(a.Header))
	for name := range a.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value := strings.Join(a.Header[name], ", ")
		if name == "Authorization" || name == "Cookie" || name == "Proxy-Authorization" {
			value = configs.Secret(value).String()
		}
		fmt.Fprintf(&b, "  %s: %s\n", shorten(name, 100), shorten(value, 300))
	}
	return b.String() + "\n"
}
