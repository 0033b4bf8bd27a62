package console

import (
	"context"
	"time"
)

// Gateway is what the console needs of its gateway. All methods are safe for concurrent use.
type Gateway interface {
	// Totals takes time proportional to the number of channels and sockets.
	Totals() Totals
	// Channels lists the channels that this gateway follows, in any order.
	Channels() []Channel
	// Connections lists the connections with their queues, in any order.
	Connections() []Connection
	// Subscriptions lists those of one connection; false if there is no connection with that id.
	Subscriptions(id string) ([]Subscription, bool)
	// Watch shows the publications of a channel until stop is called. show is called for one publication after
	// the other and must not wait; see may be called later, and size is about how many bytes are held until
	// then.
	Watch(app, channel string, show func(size int, see func() Event)) (stop func(), err error)
	// Members lists the members of a presence channel on all gateways, in the order in which they joined.
	Members(ctx context.Context, app, channel string) ([]Member, error)
	// Count returns the subscriptions and members of a channel on all gateways.
	Count(ctx context.Context, app, channel string) (Count, error)
	// Close closes a connection with a reason, and reports false if there is none with that id. back tells the
	// client library when to reconnect.
	Close(id string, back Return, reason string) bool
	// Terminate closes the connections of a user on all gateways.
	Terminate(ctx context.Context, app, user string) error
	Cluster(ctx context.Context) Cluster
	Health() Health
}

// Return says when the client of a closed connection reconnects.
type Return string

// The values of [Return], as in requests.
const (
	AtOnce Return = "at_once"
	Later  Return = "later"
	Never  Return = "never"
)

// Totals are the numbers of a gateway at one moment. Fields that end in Total count since the start.
type Totals struct {
	At            int64  `json:"at_ms"`
	Connections   int    `json:"connections"`
	Channels      int    `json:"channels"`
	Subscriptions int    `json:"subscriptions"`
	Published     uint64 `json:"published_total"` // of the channels that are followed
	Delivered     uint64 `json:"delivered_total"`
	Frames        uint64 `json:"frames_total"`
	Accepted      uint64 `json:"http_events_total"` // by the HTTP API
	Queued        int    `json:"queued_frames"`
	QueuedBytes   int    `json:"queued_bytes"`
	Behind        int64  `json:"catching_up"`
}

// Channel is a channel that this gateway follows.
type Channel struct {
	App           string `json:"app"`
	Name          string `json:"channel"`
	Subscriptions int    `json:"subscriptions"`
	Published     uint64 `json:"published"`
	// Rate is in events per second since the previous look, 0 for the first one.
	Rate float64 `json:"rate"`
}

// Connection is a connection of this gateway.
type Connection struct {
	ID            string `json:"id"`
	App           string `json:"app"`
	Address       string `json:"address"`
	User          string `json:"user,omitempty"`
	Protocol      string `json:"protocol"`
	Since         int64  `json:"since_ms"`
	Subscriptions int    `json:"subscriptions"`
	Lag
}

// Lag is how far a connection is behind the log.
type Lag struct {
	// Events is the number of events that were published and not written to it yet. Oldest is how long ago the
	// oldest of them was stored, in milliseconds.
	Events int   `json:"lag_events"`
	Oldest int64 `json:"lag_ms"`
	// Behind counts subscriptions that skip to the newest events, and Catching those that are sent the past.
	Behind   int `json:"behind"`
	Catching int `json:"catching_up"`
	// Blocked is for how long the kernel has accepted nothing, in milliseconds.
	Blocked int64 `json:"blocked_ms"`
	Frames  int   `json:"queued_frames"`
	Bytes   int   `json:"queued_bytes"`
	// Closing is set while it is being closed, so queued frames may not reach it.
	Closing bool `json:"closing"`
}

// Slow reports whether frames are delayed.
func (l *Lag) Slow() bool { return l.Blocked > 0 || l.Behind > 0 || l.Catching > 0 || l.Closing }

// Subscription is a subscription of a connection.
type Subscription struct {
	Channel string `json:"channel"`
	State   string `json:"state"`
	Deltas  bool   `json:"deltas"`
	Waiting int    `json:"waiting"`
	Skipped int    `json:"skipped"`
	// Place is the serial that it has reached, and Head that of the newest event here.
	Place uint64 `json:"place"`
	Head  uint64 `json:"head"`
	// Oldest is how long ago the oldest waiting event was stored, in milliseconds.
	Oldest int64 `json:"lag_ms"`
}

// Member is a member of a presence channel.
type Member struct {
	ID   string `json:"id"`
	Info string `json:"info"`
}

// Count is the number of subscriptions and members on all gateways.
type Count struct {
	Subscriptions int `json:"subscriptions"`
	Members       int `json:"members"`
}

// Event is an event of a channel. Data is its beginning, and Size the size of all data in bytes.
type Event struct {
	Serial  uint64            `json:"serial"`
	Stream  string            `json:"stream"`
	At      int64             `json:"at_ms"`
	Name    string            `json:"event"`
	ID      string            `json:"id"`
	From    string            `json:"from"`
	Node    string            `json:"node,omitempty"`
	User    string            `json:"user,omitempty"`
	Tags    map[string]string `json:"tags,omitempty"`
	Skipped string            `json:"skipped,omitempty"`
	Data    string            `json:"data"`
	Size    int               `json:"size"`
	// Form is the form for a subscriber with deltas: full, delta, or plain if the event takes no part in delta
	// compression; empty for events that were read from the log.
	Form string `json:"form,omitempty"`
	// Full is the size of the full frame, and Wire that of the frame as sent, in bytes.
	Full int    `json:"full_bytes,omitempty"`
	Wire int    `json:"wire_bytes,omitempty"`
	Key  string `json:"key,omitempty"`
}

// Cluster describes all gateways.
type Cluster struct {
	Gateways []Node   `json:"gateways"`
	Differ   []string `json:"settings_differ"`
	Streams  []Stream `json:"streams"`
	// Note is why the list of streams is missing or incomplete.
	Note string `json:"streams_note,omitempty"`
	Health
}

// Node is a gateway.
type Node struct {
	ID      string `json:"id"`
	Label   string `json:"label"`
	Version string `json:"version"`
	Self    bool   `json:"self"`
}

// Health is the state of the gateway and its log.
type Health struct {
	Ready      bool     `json:"ready"`
	Backend    string   `json:"backend"`
	Durability string   `json:"durability"`
	Problems   []string `json:"problems"`
	Pending    []string `json:"restart_pending"`
}

// Stream is a stream of the log, or another store beside it.
type Stream struct {
	Name     string `json:"name"`
	Purpose  string `json:"purpose"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	Subjects uint64 `json:"subjects"`
	// Copies is the configured number of replicas. Leader is the server that leads them, empty without a
	// cluster, and Late names those that are not up to date.
	Copies  int      `json:"copies"`
	Leader  string   `json:"leader"`
	Late    []string `json:"late"`
	Problem string   `json:"problem,omitempty"`
}

// millis returns a time in Unix milliseconds, 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
