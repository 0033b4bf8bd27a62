package app

import (
	"strings"
	"time"

	"github.com/sluicehq/sluice/broker/secret"
)

// Secret is an application secret that prints itself redacted.
type Secret = secret.Secret

// Limits are the limits of one app. All sizes are in bytes. Zero means the value of [DefaultLimits] except where
// a field says otherwise.
type Limits struct {
	MaxConnections      int // 0 = unlimited
	MaxEventPayload     int
	MaxChannelsPerEvent int
	MaxBatchSize        int
	MaxEventNameLength  int
	MaxChannelLength    int
	MaxHistoryPage      int
	// MaxMembers bounds the members of a presence channel, and MaxMemberInfo the size of a member's user_info.
	MaxMembers, MaxMemberInfo int
	// EventsPerSecond and ReadsPerSecond bound the HTTP API, 0 = unlimited.
	EventsPerSecond, ReadsPerSecond int
	// MaxIdempotencyKey is the maximum length of an idempotency key in bytes; 0 and values above
	// [MostIdempotencyKey] mean that one.
	MaxIdempotencyKey int
}

// MostIdempotencyKey is the largest possible MaxIdempotencyKey, in bytes.
const MostIdempotencyKey = 128

// IdempotencyKey returns the maximum length of an idempotency key in force, in bytes.
func (l *Limits) IdempotencyKey() int {
	if l.MaxIdempotencyKey <= 0 {
		return MostIdempotencyKey
	}
	return min(l.MaxIdempotencyKey, MostIdempotencyKey)
}

// DefaultLimits are the defaults of protocol section 6.2.
var DefaultLimits = Limits{
	MaxEventPayload:     10 * 1024,
	MaxChannelsPerEvent: 100,
	MaxBatchSize:        10,
	MaxEventNameLength:  200,
	MaxChannelLength:    200,
	MaxHistoryPage:      100,
	MaxMembers:          100,
	MaxMemberInfo:       1024,
	MaxIdempotencyKey:   MostIdempotencyKey,
}

// Algorithm is a delta format.
type Algorithm uint8

const (
	AlgorithmUnset Algorithm = iota
	Fossil
	VCDIFF // xdelta3 on the wire
)

// String returns the name of the algorithm on the wire.
func (a Algorithm) String() string {
	switch a {
	case Fossil:
		return "fossil"
	case VCDIFF:
		return "xdelta3"
	}
	return ""
}

// Delta is the delta compression of one channel.
type Delta struct {
	// Enabled false disables deltas, whatever a client requests.
	Enabled   bool
	Algorithm Algorithm
	// Interval is the number of tracked publications of a conflation value of which one is sent in full; with 0
	// and 1 all are.
	Interval int
	// MinSize is the minimum size of the bare frame in bytes.
	MinSize int
	// MaxAgeSeconds is the maximum age of a base.
	MaxAgeSeconds int
	// Path is the conflation path, empty for single-base mode.
	Path string
	// MaxKeys bounds the conflation values that are remembered per channel.
	MaxKeys int
	// DeliverTags adds tags to V2 frames.
	DeliverTags bool
}

// Recovery bounds what V2 connections can recover after a reconnect.
type Recovery struct {
	Enabled bool
	// MaxEvents of a channel and MaxBytes of their data are the most that a connection can have missed. As much
	// is kept in memory for each channel, for at most Age.
	MaxEvents, MaxBytes int
	Age                 time.Duration
}

// Pattern is one entry of channel_delta_compression. Match may contain one `*`.
type Pattern struct {
	Match string
	Delta Delta
}

// App is one tenant.
type App struct {
	ID string
	// Key and Secret are the present credentials, with which everything is signed. Earlier ones are accepted for
	// a while.
	Key     string
	Secret  Secret
	Earlier []Key
	Enabled bool
	// Removed is set in the remains of an app that was removed from the registry. Such an app is not Enabled
	// either.
	Removed bool
	Limits  Limits
	// RetainedMessages is the number of publications that the log keeps of each channel, 0 if only other limits
	// apply.
	RetainedMessages int
	// HistoryEnabled enables the history API; Readings limit it by channel.
	HistoryEnabled bool
	Readings       *Readings
	// Rewind allows V2 subscriptions to begin with a part of the past.
	Rewind   bool
	Recovery Recovery
	// Snapshots selects the channels whose subscriptions begin with a snapshot.
	Snapshots []SnapshotPattern
	// ClientEvents allows subscribers of private and presence channels to send events, at most ClientEventRate
	// per second and connection, 0 for no limit.
	ClientEvents    bool
	ClientEventRate int
	// Origins are the patterns of origins that may connect, see [App.AllowsOrigin]; none means all.
	Origins []string
	// UserAuth allows connections to sign in as a user. With Watchlist, they are told when users of their choice
	// come online and go offline.
	UserAuth, Watchlist bool
	// AuthTimeout is the time after which a connection is closed that has neither signed in nor joined a channel
	// that needs a signature; 0 for never.
	AuthTimeout time.Duration
	// SubscriptionCount tells subscribers how many subscriptions a channel has.
	SubscriptionCount bool
	Webhooks          []Webhook
	// Conflate lets a socket that does not read fast enough skip to the newest publication of each conflation
	// value, on channels with a conflation path. Otherwise such a socket is closed.
	Conflate bool
	// Delta is for channels that no pattern matches.
	Delta Delta
	// Patterns are selected by the rules of protocol section 3.5: exact name, then the longest literal part,
	// then byte order.
	Patterns []Pattern

	// line leads to the present app; nil for an app that is not in a registry.
	line *line
}

// ChannelDelta returns the delta compression of a channel.
func (a *App) ChannelDelta(channel string) Delta {
	i := choose(len(a.Patterns), func(i int) string { return a.Patterns[i].Match }, channel)
	if i < 0 {
		return a.Delta
	}
	return a.Patterns[i].Delta
}

// Snapshot says whether subscriptions of a channel begin with the newest event of each conflation value.
type Snapshot struct {
	On bool
	// MaxValues bounds the values; 0 means the gateway's default.
	MaxValues int
}

// SnapshotPattern is one entry of channel_snapshot. Match may contain one `*`.
type SnapshotPattern struct {
	Match string
	Snapshot
}

// Snapshot returns the setting of a channel. The entry is selected as for [App.ChannelDelta]. A channel without
// a readable history has no snapshot.
func (a *App) Snapshot(channel string) Snapshot {
	if len(a.Snapshots) == 0 || a.Readings.Of(channel).Off {
		return Snapshot{}
	}
	i := choose(len(a.Snapshots), func(i int) string { return a.Snapshots[i].Match }, channel)
	if i < 0 {
		return Snapshot{}
	}
	return a.Snapshots[i].Snapshot
}

// choose returns the index of the pattern for a channel among n patterns, -1 if none matches.
func choose(n int, pattern func(i int) string, channel string) int {
	best := -1
	for i := range n {
		p := pattern(i)
		if p == channel {
			return i
		}
		if !matches(p, channel) {
			continue
		}
		if best < 0 || len(p) > len(pattern(best)) || len(p) == len(pattern(best)) && p < pattern(best) {
			best = i
		}
	}
	return best
}

func matches(pattern, channel string) bool {
	head, tail, wild := strings.Cut(pattern, "*")
	return wild && len(channel) >= len(head)+len(tail) &&
		strings.HasPrefix(channel, head) && strings.HasSuffix(channel, tail)
}
