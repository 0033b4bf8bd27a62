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
	// redialPause lies between attempts to replace a connection that was closed, up to
	// redialLongest, with as much again by chance.
	redialPause   = 50 * time.Millisecond
	redialLongest = time.Second
	// changesPause lies between two lines about a connection that was lost, or is there again.
	changesPause = 5 * time.Second
)

// link is the connection for one role. The client library reconnects one that breaks, but
// closes one for ever after an error of the server that it does not know, or that it takes
// to be its own fault. A link replaces such a connection, with all that stands on it.
type link struct {
	log  *Log
	role string
	more []nats.Option
	now  atomic.Pointer[connection]
	// arrived is called by who reads from the connection, see [link.whenRead].
	arrived atomic.Pointer[func()]
	// carrier is what the present connection is made of, nil within the process.
	carrier atomic.Pointer[carrier]
	// broken is told when a connection was closed.
	broken chan struct{}
	// crowded counts the times that the server refused a subscription for their number.
	crowded atomic.Uint64
	lines   seldom.Lines
	// changes are lines about a connection that comes and goes.
	changes seldom.Lines

	mu       rank.Mutex[rank.StreamsLink]
	standing map[*standing]struct{}
	canary   canary
	// cause is why the last attempt to connect failed.
	cause error
	ended bool
}

// connection is one connection with what is made on it.
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
	// made is told of each subscription in which messages come, with the one before.
	made func(now, before *nats.Subscription)
	sub  *nats.Subscription
}

func newLink(l *Log, role string, more ...nats.Option) *link {
	return &link{log: l, role: role, more: more, broken: make(chan struct{}, 1), standing: map[*standing]struct{}{}, changes: seldom.Lines{Pause: changesPause}}
}

// conn is the present connection. It may be closed, and another one the next time.
func (k *link) conn() *nats.Conn { return k.now.Load().conn }

// connected says whether there is a connection.
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

// adopt goes over to a connection, with all subscriptions.
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

// make subscribes on a connection. What fails is made on the next one: the library says no
// only if the connection is closed. The link's lock is held.
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

// stand subscribes, on this connection and on those that replace it. Messages may be missed
// in between; the log is told of that. made may be nil.
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

// errCrowded says that the limit of subscriptions is reached.
var errCrowded = errors.New("the NATS server allows the connection no more subscriptions; raise max_subscriptions of the server, account or user")

// crowdedPatience is how long the library may take to report what it was told.
const crowdedPatience = 250 * time.Millisecond

// settle waits until the server has taken what was subscribed since crowded had the value of
// before. The server does not say which subscription it refuses, so all of that time count.
func (k *link) settle(ctx context.Context, before uint64) error {
	c := k.conn()
	if err := c.FlushWithContext(ctx); err != nil {
		return err
	}
	// The error stands until the connection is made anew, so it may be an old one.
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

// noted keeps why there is no connection.
func (k *link) noted(err error) {
	if err == nil {
		return
	}
	k.mu.Lock()
	k.cause = err
	k.mu.Unlock()
}

// failed notes an attempt to connect that failed, and says so now and then.
func (k *link) failed(err error) {
	k.noted(err)
	if k.log.ctx.Err() == nil {
		k.lines.Warn(k.log.opt.Logger, "connect", "connecting to NATS failed", "role", k.role, "error", k.log.redact(err))
	}
}

// state says what is wrong with the connection, empty if nothing is.
func (k *link) state() string {
	w := k.now.Load()
	if w.conn.IsConnected() {
		return ""
	}
	state := "the " + k.role + " connection to NATS is " + strings.ToLower(w.conn.Status().String())
	// Not all failures to connect anew are reported; they stand here until the next one.
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

// look notes why there is no connection yet, and replaces one whose key is no more that of
// the file: the library reads all other files anew by itself.
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

// checkLinks looks at all connections.
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
