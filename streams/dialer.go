package streams

import (
	"context"
	"math/rand/v2"
	"net"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker/rawio"
)

// wired has the connections of a link made as carriers, however they are made otherwise. It is the
// last of the options.
func (k *link) wired(o *nats.Options) error {
	if o.InProcessServer != nil {
		o.InProcessServer = wiredServer{o.InProcessServer, k}
		return nil
	}
	d := wiredDialer{o.CustomDialer, k}
	if d.below == nil {
		// The library shares the time out among the addresses of a name only where it has the dialer.
		d.below = newNameDialer(o)
		o.SkipHostLookup = true
	}
	o.CustomDialer = d
	return nil
}

type wiredServer struct {
	below nats.InProcessConnProvider
	link  *link
}

// InProcessConn implements [nats.InProcessConnProvider].
func (s wiredServer) InProcessConn() (net.Conn, error) {
	c, err := s.below.InProcessConn()
	if err != nil {
		return nil, err
	}
	w := &carrier{Conn: c, link: s.link, patience: withinPatience}
	w.greeting.Store(true) // until it has connected
	return w, nil
}

type wiredDialer struct {
	below nats.CustomDialer
	link  *link
}

// Dial implements [nats.CustomDialer].
func (d wiredDialer) Dial(network, address string) (net.Conn, error) {
	c, err := d.below.Dial(network, address)
	if err != nil {
		return nil, err
	}
	w := &carrier{Conn: rawio.New(c), link: d.link, patience: writePatience}
	w.greeting.Store(true) // until it has connected
	d.link.carrier.Store(w)
	return w, nil
}

// SkipTLSHandshake implements what the library asks a dialer that speaks TLS itself.
func (d wiredDialer) SkipTLSHandshake() bool {
	skips, ok := d.below.(interface{ SkipTLSHandshake() bool })
	return ok && skips.SkipTLSHandshake()
}

// nameDialer looks a name up and tries its addresses one after the other. Each of them has its part of
// the time, so that the first ones may be dead.
type nameDialer struct {
	dialer net.Dialer // its time is that of an attempt with all addresses
	// lookUp finds the addresses of a name, inOrder says that they are tried as they are found.
	lookUp  func(ctx context.Context, host string) ([]string, error)
	inOrder bool
}

// newNameDialer makes one that does what the library would do with these options.
func newNameDialer(o *nats.Options) *nameDialer {
	d := &nameDialer{inOrder: o.NoRandomize}
	if o.Dialer != nil {
		d.dialer = *o.Dialer
	}
	d.dialer.Timeout = o.Timeout
	if o.AllowMultipathTCP != nil {
		d.dialer.SetMultipathTCP(*o.AllowMultipathTCP)
	}
	if !o.SkipHostLookup {
		d.lookUp = d.dialer.Resolver.LookupHost // nil is that of the system
	}
	return d
}

// Dial implements [nats.CustomDialer].
func (d *nameDialer) Dial(network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || d.lookUp == nil || net.ParseIP(host) != nil {
		return d.dialer.Dial(network, address)
	}
	ctx := context.Background()
	if d.dialer.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.dialer.Timeout)
		defer cancel()
	}
	hosts, err := d.lookUp(ctx, host)
	if err == nil && len(hosts) == 0 {
		err = &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	if !d.inOrder {
		rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	}
	one := d.dialer
	one.Timeout /= time.Duration(len(hosts))
	var conn net.Conn
	for _, h := range hosts {
		if conn, err = one.Dial(network, net.JoinHostPort(h, port)); err == nil {
			break
		}
	}
	return conn, err
}
