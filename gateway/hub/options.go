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
	// TotalRecentBytes bounds what is kept for sockets that come back, and what snapshots hold besides, of all channels
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
	// PrimeTimeout bounds how long a subscription waits for the past of its channel, default
	// 1 s. It is a matter of compression, not of delivery.
	PrimeTimeout time.Duration
	// AttachTimeout bounds attaching a channel to the log, the wait for the turn to do so,
	// and each reading of its past, default 10 s, and PublishTimeout if that is longer.
	AttachTimeout time.Duration
	// Turn waits until a request of a client may be served while many come at once; nil for no wait.
	Turn func(ctx context.Context, client netip.Addr) error
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
	// Compression offers per-message compression to clients that ask for it;
	// off by default.
	Compression bool
	// SweepInterval is how often silent connections and idle channels are
	// looked for, default 1 s.
	SweepInterval time.Duration
	Logger        *slog.Logger
	Tracer        trace.Tracer // of how subscriptions get what they missed, nil for none
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
