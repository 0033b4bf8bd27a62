package hub

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/broker/seldom"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/gateway/duties"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/filters"
	"github.com/sluicehq/sluice/gateway/herald"
	"github.com/sluicehq/sluice/gateway/past"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
	"github.com/sluicehq/sluice/gateway/turns"
	"github.com/sluicehq/sluice/kv"
)

// Options configure a [Hub]. The zero value of a field means its default, except
// where the field says otherwise.
type Options struct {
	// Apps and Feed are required.
	Apps *app.Registry
	Feed broker.Feed
	// Refuse says why a handshake for an app is not accepted, "" if it is; nil never
	// does.
	Refuse func(*http.Request, *app.App) string
	// Metrics is required; see [NewMetrics].
	Metrics *Metrics
	// Node is the name of this gateway, by which it knows events that it took in
	// itself.
	Node string
	// DeltaEnabled is the master switch of delta compression; false by default.
	DeltaEnabled bool
	// Shards is the number of writing goroutines, default one per processor.
	Shards int
	// ActivityTimeout is the silence after which a peer is asked for a sign of
	// life, default 120 s, at least 1 s. PongTimeout is how long it has then,
	// default 30 s.
	ActivityTimeout, PongTimeout time.Duration
	// MaxMessage is the largest inbound message in bytes, default 64 KiB.
	MaxMessage int
	// QueueFrames and QueueBytes bound what waits for one socket, default 4096
	// frames and 1 MiB. A socket that exceeds either is closed with 4100.
	QueueFrames, QueueBytes int
	// TotalQueueBytes bounds what the sockets that are behind hold together, default
	// 256 MiB. Frames for which several of them wait count once. When it is nearly
	// reached the slowest sockets are closed with 4100.
	TotalQueueBytes int64
	// TotalBaseBytes bounds what deltas can start from, of all channels together,
	// default 256 MiB. Beyond it publications go out in full.
	TotalBaseBytes int64
	// TotalRecentBytes bounds what is kept for sockets that come back, of all channels
	// together, default 64 MiB. Beyond it the log is read for them.
	TotalRecentBytes int64
	// TotalMessageBytes bounds what messages of clients take that have begun and not
	// ended, default 64 MiB. The one that began first gives way (4100).
	TotalMessageBytes int64
	// Scarce says that memory is scarce, so that no further channels are followed;
	// nil for never. Called for each subscription that needs one.
	Scarce func() bool
	// SendBuffer bounds what the kernel holds for one socket, in bytes, before
	// frames wait in its queue; 0 leaves it to the system.
	SendBuffer int
	// SlowAge is how long one write to a socket that does not read may take
	// before it is given up, default 10 s.
	SlowAge time.Duration
	// Linger is how long a closing connection waits for its peer, default 2 s.
	Linger time.Duration
	// ChannelLinger is how long a channel without subscribers stays attached,
	// default 5 s.
	ChannelLinger time.Duration
	// AttachTimeout bounds attaching a channel to the log, and the wait for the turn to
	// do so, default 10 s.
	AttachTimeout time.Duration
	// Attaching is how many channels are attached at a time, default 4 per processor.
	// What the log takes longer for than a moment does not count.
	Attaching int
	// ChannelRate bounds how many channels in a second are attached for connections that
	// have had many attached, of all together, after a burst of four times that; 0 for no
	// bound.
	ChannelRate int
	// Network is what counts as one client of an address, default the address itself.
	Network func(netip.Addr) netip.Addr
	// PerConnection is that of the start, see [Hub.Limit].
	app.PerConnection
	// Page makes a page of history for a subscriber, as the history API does; nil means that
	// there is none.
	Page func(context.Context, PageRequest) ([]byte, error)
	// History is read when a channel becomes active, so that the first
	// publication can find its base; nil for none.
	History broker.History
	// Roster knows who is in a channel on all gateways; nil means that there are no
	// presence channels and no counts. Herald tells applications what they want to know
	// of, default one that tells nobody.
	Roster *presence.Roster
	Herald *herald.Herald
	// Counters has the checkpoints with which the gateways of a cluster agree
	// on the publications that go out in full. They live for [count.TTL].
	// Needs History; nil lets this gateway count by itself.
	Counters kv.Followed
	// CacheTTL is how long a cache channel remembers its last event, default 30
	// minutes. Needs History.
	CacheTTL time.Duration
	// Publisher stores client events; nil means that there are none. A [broker.Caster] takes
	// those that are ephemeral.
	// PublishTimeout bounds how long one may wait for the log, default 10 s.
	Publisher      broker.Publisher
	PublishTimeout time.Duration
	// RetainedMessages is the number of publications per channel that the log
	// keeps, 0 if it is bounded by other means only.
	RetainedMessages int
	// Compression offers per-message compression to clients that ask for it;
	// off by default.
	Compression bool
	// SweepInterval is how often silent connections and idle channels are
	// looked for, default 1 s.
	SweepInterval time.Duration
	Logger        *slog.Logger
	// Now is the clock, default one that never jumps. LogTime is that of the log, by
	// which the ages of publications go, default Now.
	Now, LogTime func() time.Time
}

func fallback[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (o *Options) setDefaults() {
	fallback(&o.Shards, runtime.GOMAXPROCS(0))
	fallback(&o.ActivityTimeout, 120*time.Second)
	fallback(&o.PongTimeout, 30*time.Second)
	fallback(&o.MaxMessage, 64<<10)
	fallback(&o.QueueFrames, 4096)
	fallback(&o.QueueBytes, 1<<20)
	fallback(&o.TotalQueueBytes, 256<<20)
	fallback(&o.TotalBaseBytes, 256<<20)
	fallback(&o.TotalRecentBytes, 64<<20)
	fallback(&o.TotalMessageBytes, 64<<20)
	fallback(&o.SlowAge, 10*time.Second)
	fallback(&o.Linger, 2*time.Second)
	fallback(&o.ChannelLinger, 5*time.Second)
	fallback(&o.AttachTimeout, 10*time.Second)
	fallback(&o.Attaching, 4*runtime.GOMAXPROCS(0))
	if o.Network == nil {
		o.Network = func(a netip.Addr) netip.Addr { return a }
	}
	fallback(&o.CacheTTL, defaultCacheTTL)
	fallback(&o.PublishTimeout, defaultPublishTimeout)
	fallback(&o.SweepInterval, time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		// Silence is measured with it: somebody who sets the clock of the machine
		// must not make all sockets silent for an hour.
		began := time.Now()
		o.Now = func() time.Time { return began.Add(time.Since(began)) }
	}
	if o.Herald == nil {
		o.Herald = herald.New(herald.Options{Apps: o.Apps, Node: o.Node, Now: o.Now, Logger: o.Logger})
	}
	if o.LogTime == nil {
		o.LogTime = o.Now
	}
}

// Hub is the set of connections of one gateway.
type Hub struct {
	opt Options
	// inbox bounds what messages of clients take that have begun.
	inbox *websocket.Inbox
	gate  *turns.Gate[channelKey]
	// hall has the shards, and connections those of each. kinds are what those have in
	// common that speak alike: by dialect, without and with per-message compression.
	hall        *fanout.Hall
	connections []connections
	kinds       [pusher.Dialects][2]socket.Kind
	// upgraders are without and with per-message compression.
	upgraders [2]*gws.Upgrader

	ctx    context.Context
	cancel context.CancelFunc
	// loops are the shards, the sweep and the one that makes room, clients the reading
	// goroutines.
	loops, clients sync.WaitGroup

	mu       rank.Mutex[rank.Hub]
	closed   bool
	draining bool
	channels map[channelKey]*Channel
	idle     map[*Channel]struct{}
	perApp   map[string]int
	// users are the connections that have signed in, and when, by the clock of the log.
	users map[userKey]map[*Client]time.Time
	// totals follow the connections of apps that have a limit of them.
	totals map[string]*presence.Room
	// duties are what is followed for apps beside their channels.
	duties *duties.Duties
	orders duties.Orders

	watchlists *herald.Watchlists

	// basesSwept belongs to the sweep.
	basesSwept time.Time

	filters filters.Pool
	limit   atomic.Pointer[app.PerConnection]

	nextShard atomic.Uint32
	instance  string
	// pongs answer clients that ask for a sign of life, by dialect.
	pongs [pusher.Dialects]*socket.Frame
	// beat tells whoever is between the server and the reader of an event stream that it is there.
	beat *socket.Frame
	// long has a place for each long message that is being taken apart.
	long     chan struct{}
	messages atomic.Uint64
	// library is what the pasts of all channels share.
	library *past.Library
	// cluster is what channels need to count with other gateways; nil if they do not.
	cluster *count.Cluster
	// failures tells of what fails for many connections at a time, refusals of clients
	// that are refused.
	failures, refusals seldom.Lines
	// tasks are what runs in the background beside.
	taskMu rank.Mutex[rank.Tasks]
	tasks  sync.WaitGroup
}

type channelKey struct{ app, channel string }

// New starts a hub. Close ends it.
func New(opt Options) (*Hub, error) {
	if opt.Apps == nil || opt.Feed == nil || opt.Metrics == nil {
		return nil, fmt.Errorf("hub: Apps, Feed and Metrics are required")
	}
	if opt.Counters != nil && opt.History == nil {
		return nil, fmt.Errorf("hub: Counters need History")
	}
	opt.setDefaults()
	h := &Hub{
		opt:      opt,
		channels: map[channelKey]*Channel{},
		idle:     map[*Channel]struct{}{},
		perApp:   map[string]int{},
		users:    map[userKey]map[*Client]time.Time{},
		totals:   map[string]*presence.Room{},
		instance: strconv.FormatUint(rand.Uint64(), 36),
	}
	for d := range h.pongs {
		h.pongs[d] = fanout.ControlFrame(pusher.Dialect(d), 64, &pusher.Control{Event: "pong", Object: []byte("{}")})
	}
	h.beat = socket.NewFrame([]byte(":\n\n"), 0)
	h.long = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))
	h.Limit(opt.PerConnection)
	h.openSockets()
	h.inbox = websocket.NewInbox(opt.TotalMessageBytes)
	h.gate = turns.New[channelKey](opt.Attaching, opt.ChannelRate, opt.Now)
	h.failures.Pause = time.Second
	h.watchlists = herald.NewWatchlists(opt.Roster, func(app string, err error) {
		h.failures.Warn(opt.Logger, "watching", "watching a user failed", "app", app, "error", err)
	})
	opt.Metrics.begin(opt.Apps.IDs())
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.duties, h.orders = h.newDuties()
	h.library = h.newLibrary()
	h.cluster = h.newCluster()
	h.upgraders[0] = h.upgrader(gws.PermessageDeflate{})
	if opt.Compression {
		h.upgraders[1] = h.upgrader(deflateOption)
	}
	for _, s := range h.hall.Shards {
		h.loops.Add(1)
		go func() {
			defer h.loops.Done()
			s.Run()
		}()
	}
	h.loops.Add(2)
	go h.sweepLoop()
	go func() {
		defer h.loops.Done()
		h.hall.Sockets.Run(h.ctx)
	}()
	opt.Metrics.observe(h)
	h.follow()
	return h, nil
}

func (h *Hub) upgrader(deflate gws.PermessageDeflate) *gws.Upgrader {
	return gws.NewUpgrader(events{}, &gws.ServerOption{
		ParallelGolimit:    1,
		ReadMaxPayloadSize: h.opt.MaxMessage,
		CheckUtf8Enabled:   true,
		NewSession:         func() gws.SessionStorage { return &session{} },
		PermessageDeflate:  deflate,
	})
}

// messageID names a protocol frame. Only its uniqueness matters.
func (h *Hub) messageID() string {
	return h.instance + "-" + strconv.FormatUint(h.messages.Add(1), 36)
}

// newSocketID makes an id of two random numbers. With 64 random bits even a
// million sockets in a cluster are unlikely to ever collide.
func newSocketID() string {
	n := rand.Uint64()
	return strconv.FormatUint(n>>32, 10) + "." + strconv.FormatUint(n&0xffffffff, 10)
}

// find returns the local connection with a socket id, or nil.
func (h *Hub) find(id string) *Client {
	for i := range h.connections {
		if c := h.connections[i].find(id); c != nil {
			return c
		}
	}
	return nil
}

// Connections is how many connections are open, without those that are being refused.
func (h *Hub) Connections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, some := range h.perApp {
		n += some
	}
	return n
}

// left forgets a connection that has ended.
func (h *Hub) left(c *Client) {
	if c.refused != 0 {
		return
	}
	h.mu.Lock()
	h.perApp[c.tenant.ID]--
	h.countConnections(c.app())
	h.mu.Unlock()
	h.opt.Metrics.disconnected(c.tenant.ID)
	if c.dialect == pusher.Events {
		h.opt.Metrics.streams.WithLabelValues(c.tenant.ID, h.opt.Metrics.port).Dec()
	}
}

// settle waits until the others know that nobody is here any more.
func (h *Hub) settle(ctx context.Context) {
	if h.opt.Roster == nil {
		return
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, c := range h.attached() {
		for !c.roll.Idle() {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}
}

// Close asks every connection to come back elsewhere (4200), waits until they
// have ended or ctx is done, and then releases everything.
func (h *Hub) Close(ctx context.Context) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	h.mu.Unlock()
	h.taskMu.Lock()
	h.cancel()
	h.taskMu.Unlock()
	all := h.everybody()
	for _, c := range all {
		c.endSaying(pusher.CloseReconnect, reasonStopping)
	}
	done := make(chan struct{})
	go func() {
		h.clients.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
		for _, c := range all {
			c.sock.Close()
		}
		<-done
	}
	h.settle(ctx)
	h.mu.Lock()
	var attached []*Channel
	for _, c := range h.channels {
		attached = append(attached, c)
	}
	h.channels = map[channelKey]*Channel{}
	h.mu.Unlock()
	for _, s := range h.hall.Shards {
		s.Stop()
	}
	for _, c := range attached {
		c.detach()
	}
	h.duties.Close()
	h.tasks.Wait()
	h.loops.Wait()
	h.hall.Sockets.Wait()
	h.opt.Metrics.forget(h)
	return err
}
