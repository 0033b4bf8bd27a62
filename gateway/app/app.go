package app

import (
	"strings"
	"time"

	"github.com/sluicehq/sluice/broker/secret"
)

// Secret is an application secret that prints itself redacted.
type Secret = secret.Secret

// Limits bound what one app may ask for. All sizes are bytes. Zero means the
// limit of [DefaultLimits] except where a field says otherwise.
type Limits struct {
	MaxConnections      int // 0 = unlimited
	MaxEventPayload     int
	MaxChannelsPerEvent int
	MaxBatchSize        int
	MaxEventNameLength  int
	MaxChannelLength    int
	MaxHistoryPage      int
	// MaxMembers of a presence channel and MaxMemberInfo, the size of what is told
	// of one.
	MaxMembers, MaxMemberInfo int
	// EventsPerSecond and ReadsPerSecond bound the HTTP API, 0 = unlimited.
	EventsPerSecond, ReadsPerSecond int
	// MaxIdempotencyKey is the longest idempotency key in bytes; 0 and more than
	// [MostIdempotencyKey] are that.
	MaxIdempotencyKey int
}

// MostIdempotencyKey is the longest idempotency key that any app may have, in bytes.
const MostIdempotencyKey = 128

// IdempotencyKey is the longest one in force, in bytes.
func (l *Limits) IdempotencyKey() int {
	if l.MaxIdempotencyKey <= 0 {
		return MostIdempotencyKey
	}
	return min(l.MaxIdempotencyKey, MostIdempotencyKey)
}

// DefaultLimits are those of protocol section 6.2.
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
	VCDIFF // named xdelta3 on the wire
)

// String is the name of the algorithm on the wire.
func (a Algorithm) String() string {
	switch a {
	case Fossil:
		return "fossil"
	case VCDIFF:
		return "xdelta3"
	}
	return ""
}

// Delta is the delta compression in force for one channel.
type Delta struct {
	// Enabled false is a veto that no client setting overrides.
	Enabled   bool
	Algorithm Algorithm
	// Interval: one of this many tracked publications of a key goes out in
	// full; 0 and 1 make every one full.
	Interval int
	// MinSize in bytes of the bare frame.
	MinSize int
	// MaxAgeSeconds of a base.
	MaxAgeSeconds int
	// Path is the conflation path, empty for single-base mode.
	Path string
	// MaxKeys bounds the conflation values remembered per channel.
	MaxKeys int
	// DeliverTags adds tags to V2 frames.
	DeliverTags bool
}

// Recovery says what V2 connections get that were away for a while.
type Recovery struct {
	Enabled bool
	// MaxEvents of a channel and MaxBytes of their data are the most that one may have
	// missed. As much is kept in memory for each channel, for Age at most.
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
	// Key and Secret are the present credentials, with which everything is signed. Earlier
	// ones count as well for a while.
	Key     string
	Secret  Secret
	Earlier []Key
	Enabled bool
	// Removed is set in what is left of an app that was taken out of the registry. It is
	// not Enabled either.
	Removed bool
	Limits  Limits
	// RetainedMessages is the number of publications that the log keeps of each channel, 0 if it is
	// bounded by other means only.
	RetainedMessages int
	// HistoryEnabled opens the history API; Readings bound it by channel.
	HistoryEnabled bool
	Readings       *Readings
	// Rewind lets V2 subscriptions begin with a part of the past.
	Rewind   bool
	Recovery Recovery
	// Snapshots are the channels whose subscribers begin with a snapshot.
	Snapshots []SnapshotPattern
	// ClientEvents lets subscribers of private and presence channels send
	// events, at most ClientEventRate per second and connection, 0 for no
	// bound.
	ClientEvents    bool
	ClientEventRate int
	// Origins are the patterns of pages that may connect, see [App.AllowsOrigin];
	// none means all.
	Origins []string
	// UserAuth lets connections sign in as a user; with Watchlist they are told
	// when users of their choice come and go.
	UserAuth, Watchlist bool
	// AuthTimeout closes connections that have neither signed in nor joined a
	// channel that needs a signature by then, 0 for never.
	AuthTimeout time.Duration
	// SubscriptionCount tells subscribers how many they are.
	SubscriptionCount bool
	Webhooks          []Webhook
	// Conflate lets a socket that does not read fast enough skip to the newest
	// publication of each conflation value, on channels that have a conflation
	// path. Otherwise, and on other channels, it is closed.
	Conflate bool
	// Delta is the setting of channels that no pattern matches.
	Delta Delta
	// Patterns are tried as protocol section 3.5 says: exact name, then the
	// longest literal part, then byte order.
	Patterns []Pattern

	// line is that of a registry, nil for an app that is in none.
	line *line
}

// ChannelDelta returns the settings in force for a channel.
func (a *App) ChannelDelta(channel string) Delta {
	i := choose(len(a.Patterns), func(i int) string { return a.Patterns[i].Match }, channel)
	if i < 0 {
		return a.Delta
	}
	return a.Patterns[i].Delta
}

// Snapshot says whether subscribers of a channel begin with the newest event of each
// conflation value.
type Snapshot struct {
	On bool
	// MaxValues bounds the values, 0 leaves it to the gateway.
	MaxValues int
}

// SnapshotPattern is one entry of channel_snapshot. Match may contain one `*`.
type SnapshotPattern struct {
	Match string
	Snapshot
}

// Snapshot returns the setting of a channel. Which entry counts is decided as for
// [App.ChannelDelta]. Of a channel whose history is not to be read there is none.
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

// choose returns which of n patterns counts for a channel, -1 if none does.
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
