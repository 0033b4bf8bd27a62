package hub

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/herald"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/trace"
	"github.com/sluicehq/sluice/kv"
)

// Options configure a [Hub]. The zero value of a field means its default, unless the field says otherwise.
type Options struct {
	// Apps and Feed are required.
	Apps *app.Registry
	Feed broker.Feed
	// Refuse returns why a handshake for an app is refused, "" to accept it. With nil, all are accepted.
	Refuse func(*http.Request, *app.App) string
	// Metrics is required; see [NewMetrics].
	Metrics *Metrics
	// Node is the name of this gateway. Publications that it took in itself carry this name.
	Node string
	// DeltaEnabled is the master switch of delta compression; false by default.
	DeltaEnabled bool
	// Shards is the number of writing goroutines, default one per processor.
	Shards int
	// ActivityTimeout is the silence after which a peer is sent a ping, default 120 s, at least 1 s.
	// PongTimeout is how long the peer may then take to answer, default 30 s.
	ActivityTimeout, PongTimeout time.Duration
	// MaxMessage is the largest inbound message in bytes, default 64 KiB.
	MaxMessage int
	// QueueFrames and QueueBytes bound the outbox of one socket, default 4096 frames and 1 MiB. A socket that
	// exceeds either is closed with 4100.
	QueueFrames, QueueBytes int
	// TotalQueueBytes bounds the outboxes of all slow sockets together, default 256 MiB. A frame that several
	// of them share counts once. When the bound is nearly reached, the slowest sockets are closed with 4100.
	TotalQueueBytes int64
	// TotalBaseBytes bounds the delta bases of all channels together, default 256 MiB. Beyond it,
	// publications are sent in full.
	TotalBaseBytes int64
	// TotalRecentBytes bounds the recent publications of all channels that are kept for clients that
	// reconnect, and separately their snapshots, default 64 MiB. Beyond it, the log is read instead.
	TotalRecentBytes int64
	// TotalMessageBytes bounds the memory of client messages that have arrived only in part, default 64 MiB.
	// Beyond it, the oldest such message is given up and its connection closed with 4100.
	TotalMessageBytes int64
	// Scarce reports whether memory is scarce, so that no further channels are attached; nil for never. It is
	// called for each subscription that needs one.
	Scarce func() bool
	// SendBuffer bounds the bytes that the kernel holds for one socket before frames wait in its outbox; 0
	// leaves it to the system.
	SendBuffer int
	// SlowAge is how long one write to a socket that does not read may take before the socket is given up,
	// default 10 s.
	SlowAge time.Duration
	// Linger is how long a closing connection waits for its peer, default 2 s.
	Linger time.Duration
	// ChannelLinger is how long a channel without subscribers stays attached, default 5 s.
	ChannelLinger time.Duration
	// PrimeTimeout bounds how long a subscription waits for the past of its channel, default 1 s. It affects
	// compression and not delivery.
	PrimeTimeout time.Duration
	// AttachTimeout bounds each of these: attaching a channel to the log, the wait for a turn to do so, and a
	// reading of its past. Default 10 s, or PublishTimeout if that is longer.
	AttachTimeout time.Duration
	// Turn waits until a request of a client may be served while many arrive at once; nil for no wait.
	Turn func(ctx context.Context, client netip.Addr) error
	// Attaching is how many channels are attached at a time, default 4 per processor. Those for which the log
	// takes longer than a moment do not count.
	Attaching int
	// ChannelRate bounds how many channels a second are attached for connections that have had many attached,
	// of all such connections together, after a burst of four times that; 0 for no bound.
	ChannelRate int
	// Network returns the network that counts as one client, default the address itself.
	Network func(netip.Addr) netip.Addr
	// PerConnection are the limits at the start, see [Hub.Limit].
	app.PerConnection
	// Page returns a page of history for a subscriber, as the history API does; nil means that this is not
	// offered.
	Page func(context.Context, PageRequest) ([]byte, error)
	// History is read when a channel becomes active, so that the first publication can find its base; nil for
	// none.
	History broker.History
	// Roster knows the members and the counts of channels on all gateways; nil means that there are no
	// presence channels and no counts. Herald sends news of them to webhooks and connections, default one
	// without webhooks.
	Roster *presence.Roster
	Herald *herald.Herald
	// Counters has the checkpoints by which the gateways of a cluster agree on the publications that are sent
	// in full. They live for [count.TTL]. Needs History; with nil, this gateway counts alone.
	Counters kv.Followed
	// CacheTTL is how long a cache channel remembers its last event, default 30 minutes. Needs History.
	CacheTTL time.Duration
	// Publisher stores client events; nil means that there are none. If it is a [broker.Caster], it sends the
	// ephemeral ones. PublishTimeout bounds how long a client event may wait for the log, default 10 s.
	Publisher      broker.Publisher
	PublishTimeout time.Duration
	// Compression offers per-message compression to clients that ask for it; off by default.
	Compression bool
	// SweepInterval is the time between two checks for silent connections and idle channels, default 1 s.
	SweepInterval time.Duration
	Logger        *slog.Logger
	Tracer        trace.Tracer // records how subscriptions get missed publications, nil for none
	// Now is the clock, default one that never jumps. LogTime is the clock of the log, by which ages of
	// publications are computed, default Now.
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
	fallback(&o.Attaching, 4*runtime.GOMAXPROCS(0))
	if o.Network == nil {
		o.Network = func(a netip.Addr) netip.Addr { return a }
	}
	fallback(&o.CacheTTL, defaultCacheTTL)
	fallback(&o.PublishTimeout, defaultPublishTimeout)
	fallback(&o.AttachTimeout, max(10*time.Second, o.PublishTimeout))
	fallback(&o.PrimeTimeout, time.Second)
	fallback(&o.SweepInterval, time.Second)
	fallback(&o.Logger, slog.New(slog.DiscardHandler))
	if o.Now == nil {
		// Silence is measured with this clock. A change of the machine's clock must not make all sockets
		// appear silent for an hour.
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
