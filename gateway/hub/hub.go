package hub

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"

	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/broker/seldom"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/gateway/duties"
	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/filters"
	"github.com/sluicehq/sluice/gateway/herald"
	"github.com/sluicehq/sluice/gateway/past"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/quota"
	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
	"github.com/sluicehq/sluice/gateway/turns"
)

// Hub is the set of connections of one gateway.
type Hub struct {
	opt Options
	// inbox bounds the memory of client messages that have arrived only in part.
	inbox *websocket.Inbox
	gate  *turns.Gate[channelKey]
	// hall has the shards, and connections has the connections of each shard. kinds has the kinds of sockets
	// by dialect, without and with per-message compression.
	hall        *fanout.Hall
	connections []connections
	kinds       [pusher.Dialects][2]socket.Kind
	// upgraders are without and with per-message compression.
	upgraders [2]*gws.Upgrader

	ctx context.Context
	// loops waits for the shards, the sweep and the loop of the socket group, clients for the reading
	// goroutines.
	loops, clients sync.WaitGroup

	mu       rank.Mutex[rank.Hub]
	closed   bool
	draining bool
	// staying is not nil once connections that come back are held, see [Hub.Stay].
	staying  *turns.Stay
	channels map[channelKey]*Channel
	idle     map[*Channel]struct{}
	// users has the signed-in connections, and when they signed in by the clock of the log.
	users map[userKey]map[*Client]time.Time
	// duties are what is followed for apps in addition to their channels.
	duties *duties.Duties
	orders duties.Orders

	watchlists *herald.Watchlists
	quota      *quota.Quota

	// basesSwept is when bases were last checked for their age. It belongs to the sweep.
	basesSwept time.Time

	filters filters.Pool
	limit   atomic.Pointer[app.PerConnection]

	nextShard atomic.Uint32
	instance  string
	// pongs answer pings of clients, by dialect.
	pongs [pusher.Dialects]*socket.Frame
	// beat is a comment that shows proxies that an event stream is alive.
	beat *socket.Frame
	// long is a semaphore for parsing long messages.
	long     chan struct{}
	messages atomic.Uint64
	// library is what the pasts of all channels share.
	library *past.Library
	// cluster is what channels need to count together with other gateways; nil if they count alone.
	cluster *count.Cluster
	// failures are log lines about operations that fail for many connections at once, refusals those about
	// refused clients.
	failures, refusals seldom.Lines
	// tasks are the background tasks, which end with ctx.
	tasks *duties.Tasks
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
		users:    map[userKey]map[*Client]time.Time{},
		quota:    quota.New(opt.Roster),
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
	opt.Metrics.begin(opt.Apps)
	h.tasks, h.ctx = duties.NewTasks()
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

// messageID returns an id for a protocol frame. It only has to be unique.
func (h *Hub) messageID() string {
	return h.instance + "-" + strconv.FormatUint(h.messages.Add(1), 36)
}

// newSocketID returns an id of two random numbers. They have 64 random bits, so that a collision is unlikely
// even among a million sockets of a cluster.
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

// Connections is the number of open connections, without those that are being refused.
func (h *Hub) Connections() int { return h.quota.All() }

// left removes a connection that has ended from the counts.
func (h *Hub) left(c *Client) {
	if c.refused != 0 {
		return
	}
	h.quota.Leave(c.app())
	h.opt.Metrics.disconnected(c.tenant.ID)
	if c.dialect == pusher.Events {
		h.opt.Metrics.streams.Add(c.tenant.ID, -1)
	}
}

// settle waits until the table says that nobody is connected to this gateway any more, or ctx is done.
func (h *Hub) settle(ctx context.Context) {
	if h.opt.Roster == nil {
		return
	}
	var idle []func() bool
	for _, c := range h.attached() {
		idle = append(idle, c.roll.Idle)
	}
	h.opt.Roster.Settle(ctx, idle)
}

// Close closes every connection with 4200, waits until they have ended or ctx is done, and then releases
// everything.
func (h *Hub) Close(ctx context.Context) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	h.mu.Unlock()
	h.tasks.Stop()
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
		for _, c := range all {
			err = ctx.Err()
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
