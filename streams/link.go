package streams

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/broker/seldom"
)

const (
	// redialPause is the first pause between attempts to replace a closed connection. It doubles up to redialLongest. A
	// random time of up to the same length is added.
	redialPause   = 50 * time.Millisecond
	redialLongest = time.Second
	// changesPause is the least time between two log lines about the same change of a connection.
	changesPause = 5 * time.Second
)

// link is the connection for one role. The client library reconnects a broken connection. But after a server error that it
// does not know, or takes for its own fault, it closes the connection for good. A link replaces such a connection and
// restores its subscriptions.
type link struct {
	log  *Log
	role string
	more []nats.Option
	now  atomic.Pointer[connection]
	// arrived is called by the goroutine that reads from the connection, see [link.whenRead].
	arrived atomic.Pointer[func()]
	// carrier is the net.Conn of the present connection, nil for a server in the same process.
	carrier atomic.Pointer[carrier]
	// broken receives a value when the connection was closed.
	broken chan struct{}
	// crowded counts the subscriptions that the server refused because there were too many.
	crowded atomic.Uint64
	lines   seldom.Lines
	// changes are the log lines about lost and restored connections.
	changes seldom.Lines

	mu       rank.Mutex[rank.StreamsLink]
	standing map[*standing]struct{}
	canary   canary
	// cause is the error of the last attempt to connect.
	cause error
	ended bool
}

// connection is one connection of a link, with its JetStream context.
type connection struct {
	conn *nats.Conn
	js   jetstream.JetStream
	nkey string // public, empty without one
}

// standing is a subscription that outlives its connection.
type standing struct {
	link    *link
	subject string
	in      chan *nats.Msg
	// made is called with each new subscription and its predecessor. It may be nil.
	made func(now, before *nats.Subscription)
	sub  *nats.Subscription
}

func newLink(l *Log, role string, more ...nats.Option) *link {
	return &link{log: l, role: role, more: more, broken: make(chan struct{}, 1), standing: map[*standing]struct{}{}, changes: seldom.Lines{Pause: changesPause}}
}

// conn returns the present connection. It may be closed, and a later call may return another one.
func (k *link) conn() *nats.Conn { return k.now.Load().conn }

// connected reports whether the connection is established.
func (k *link) connected() bool {
	w := k.now.Load()
	return w != nil && w.conn.IsConnected()
}

// connect makes the first connection.
func (k *link) connect(ctx context.Context) error {
	w, err := k.log.dial(ctx, k)
	if err == nil {
		k.now.Store(w)
	}
	return err
}

// run replaces connections that were closed until the log is closed.
func (k *link) run() {
	for {
		select {
		case <-k.log.ctx.Done():
			return
		case <-k.broken:
		}
		if !k.over() && k.conn().IsClosed() {
			k.replace()
		}
	}
}

func (k *link) replace() {
	if err := k.conn().LastError(); err != nil {
		k.noted(err)
		k.lines.Warn(k.log.opt.Logger, "closed", "a connection to NATS ended for good and is replaced", "role", k.role, "error", k.log.redact(err))
	}
	for pause := redialPause; ; pause = min(2*pause, redialLongest) {
		w, err := k.log.join(k)
		if err == nil {
			k.adopt(w)
			k.changes.Info(k.log.opt.Logger, "replaced", "a closed connection to NATS was replaced", "role", k.role, "server", w.conn.ConnectedUrlRedacted())
			// Live messages may have been missed.
			k.log.trigger()
			return
		}
		k.failed(err)
		select {
		case <-k.log.ctx.Done():
			return
		case <-time.After(pause + rand.N(pause)):
		}
	}
}

// adopt switches to a new connection, and restores all subscriptions.
func (k *link) adopt(w *connection) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended {
		w.conn.Close()
		return
	}
	k.now.Store(w)
	for s := range k.standing {
		s.make(w.conn)
	}
	if w.conn.IsClosed() {
		k.wake()
	}
}

// make subscribes on a connection. If that fails, the subscription is made on the next connection, because the library
// fails only if the connection is closed. The caller holds the lock of the link.
func (s *standing) make(c *nats.Conn) {
	sub, err := c.ChanSubscribe(s.subject, s.in)
	if err != nil {
		return
	}
	before := s.sub
	s.sub = sub
	if s.made != nil {
		s.made(sub, before)
	}
}

// stand subscribes on this connection and on every connection that replaces it. Messages may be missed in between; then a
// comparison with the log is requested. made may be nil.
func (k *link) stand(subject string, in chan *nats.Msg, made func(now, before *nats.Subscription)) (*standing, error) {
	s := &standing{link: k, subject: subject, in: in, made: made}
	k.mu.Lock()
	defer k.mu.Unlock()
	if s.make(k.conn()); s.sub == nil {
		return nil, nats.ErrConnectionClosed
	}
	k.standing[s] = struct{}{}
	return s, nil
}

// end unsubscribes.
func (s *standing) end() {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	delete(s.link.standing, s)
	_ = s.sub.Unsubscribe()
}

// errCrowded says that the server's limit of subscriptions is reached.
var errCrowded = errors.New("the NATS server allows the connection no more subscriptions; raise max_subscriptions of the server, account or user")

// crowdedPatience is how long the library may take to report an error that it has received.
const crowdedPatience = 250 * time.Millisecond

// settle waits until the server has processed the subscriptions that were made since crowded had the value before. The
// server does not say which subscription it refuses, so a refusal counts for all of them.
func (k *link) settle(ctx context.Context, before uint64) error {
	c := k.conn()
	if err := c.FlushWithContext(ctx); err != nil {
		return err
	}
	// LastError keeps the error until the next reconnect, so it may be an old one.
	if !errors.Is(c.LastError(), nats.ErrMaxSubscriptionsExceeded) {
		return nil
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for until := time.After(crowdedPatience); k.crowded.Load() == before; {
		select {
		case <-tick.C:
		case <-until:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errCrowded
}

// noted records why there is no connection.
func (k *link) noted(err error) {
	if err == nil {
		return
	}
	k.mu.Lock()
	k.cause = err
	k.mu.Unlock()
}

// failed records a failed attempt to connect, and logs it at a limited rate.
func (k *link) failed(err error) {
	k.noted(err)
	if k.log.ctx.Err() == nil {
		k.lines.Warn(k.log.opt.Logger, "connect", "connecting to NATS failed", "role", k.role, "error", k.log.redact(err))
	}
}

// state describes what is wrong with the connection. It is empty if nothing is.
func (k *link) state() string {
	w := k.now.Load()
	if w.conn.IsConnected() {
		return ""
	}
	state := "the " + k.role + " connection to NATS is " + strings.ToLower(w.conn.Status().String())
	// The library does not report all failures to reconnect, but keeps the last one here.
	if err := w.conn.LastError(); !w.conn.IsClosed() {
		k.noted(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cause != nil {
		state += ": " + k.log.redact(k.cause)
	}
	return state
}

// look records why there is no connection yet. It replaces a connection whose nkey differs from the present file. The
// library itself reads all other files again when it reconnects.
func (k *link) look() {
	w := k.now.Load()
	if w.conn.IsConnected() || w.conn.IsClosed() {
		return
	}
	if err := w.conn.LastError(); err != nil {
		k.failed(err)
	}
	if key, err := k.log.opt.publicKey(); err == nil && key != w.nkey {
		w.conn.Close()
	}
}

// checkLinks checks all connections.
func (l *Log) checkLinks() {
	for _, k := range l.links() {
		k.look()
	}
}

func (k *link) wake() {
	select {
	case k.broken <- struct{}{}:
	default:
	}
}

func (k *link) over() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ended
}

// Close ends the connection for good.
func (k *link) Close() {
	k.mu.Lock()
	k.ended = true
	w := k.now.Load()
	k.mu.Unlock()
	if w != nil {
		w.conn.Close()
	}
}
