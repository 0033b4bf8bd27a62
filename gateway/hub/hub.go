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

	ctx context.Context
	// loops are the shards, the sweep and the one that makes room, clients the reading
	// goroutines.
	loops, clients sync.WaitGroup

	mu       rank.Mutex[rank.Hub]
	closed   bool
	draining bool
	// staying is not nil once those who come back are held, see [Hub.Stay].
	staying  *turns.Stay
	channels map[channelKey]*Channel
	idle     map[*Channel]struct{}
	// users are the connections that have signed in, and when, by the clock of the log.
	users map[userKey]map[*Client]time.Time
	// duties are what is followed for apps beside their channels.
	duties *duties.Duties
	orders duties.Orders

	watchlists *herald.Watchlists
	quota      *quota.Quota

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
	// tasks are what runs in the background beside, until ctx ends.
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
func (h *Hub) Connections() int { return h.quota.All() }

// left forgets a connection that has ended.
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

// settle waits until the others know that nobody is here any more.
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
