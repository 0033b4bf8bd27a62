package console

import (
	"context"
	"time"
)

// Gateway is what the console asks of the gateway that it belongs to. All methods may be called
// by any number of goroutines.
type Gateway interface {
	// Totals costs a step for each channel and each socket.
	Totals() Totals
	// Channels lists the channels that are followed here, in any order.
	Channels() []Channel
	// Connections lists the connections, in any order, with what waits for them.
	Connections() []Connection
	// Subscriptions are those of one connection; false if there is none with that id.
	Subscriptions(id string) ([]Subscription, bool)
	// Watch shows what is published in a channel until stop is called. show is called for one
	// publication after the other and must not wait; see is for later, and size about how many
	// bytes are kept for it until then.
	Watch(app, channel string, show func(size int, see func() Event)) (stop func(), err error)
	// Members are those of a presence channel on all gateways, in the order in which they came.
	Members(ctx context.Context, app, channel string) ([]Member, error)
	// Count is how many subscriptions and members a channel has on all gateways.
	Count(ctx context.Context, app, channel string) (Count, error)
	// Close ends a connection with a reason, and reports false if there is none with that id.
	// A client may come back at once, later, or not at all, by its library.
	Close(id string, back Return, reason string) bool
	// Terminate ends the connections of a user on all gateways.
	Terminate(ctx context.Context, app, user string) error
	Cluster(ctx context.Context) Cluster
	Health() Health
}

// Return says when a client that was closed comes back.
type Return string

// The returns, as they are written in requests.
const (
	AtOnce Return = "at_once"
	Later  Return = "later"
	Never  Return = "never"
)

// Totals are the numbers of a gateway at one moment. What ends in Total counts since the start.
type Totals struct {
	At            int64  `json:"at_ms"`
	Connections   int    `json:"connections"`
	Channels      int    `json:"channels"`
	Subscriptions int    `json:"subscriptions"`
	Published     uint64 `json:"published_total"` // in the channels that are followed
	Delivered     uint64 `json:"delivered_total"`
	Frames        uint64 `json:"frames_total"`
	Accepted      uint64 `json:"http_events_total"` // by the HTTP API
	Queued        int    `json:"queued_frames"`
	QueuedBytes   int    `json:"queued_bytes"`
	Behind        int64  `json:"catching_up"`
}

// Channel is one that is followed by this gateway.
type Channel struct {
	App           string `json:"app"`
	Name          string `json:"channel"`
	Subscriptions int    `json:"subscriptions"`
	Published     uint64 `json:"published"`
	// Rate is in events per second since the look before, 0 at the first one.
	Rate float64 `json:"rate"`
}

// Connection is one of this gateway.
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
	// Events are published and have not left for it; Oldest is how many milliseconds ago the
	// oldest of them was stored.
	Events int   `json:"lag_events"`
	Oldest int64 `json:"lag_ms"`
	// Behind subscriptions skip to the newest events, Catching ones are sent the past.
	Behind   int `json:"behind"`
	Catching int `json:"catching_up"`
	// Blocked is for how many milliseconds the kernel has taken nothing.
	Blocked int64 `json:"blocked_ms"`
	Frames  int   `json:"queued_frames"`
	Bytes   int   `json:"queued_bytes"`
	// Closing: it is being ended, and what waits may not reach it.
	Closing bool `json:"closing"`
}

// Slow tells whether something waits that should have left.
func (l *Lag) Slow() bool { return l.Blocked > 0 || l.Behind > 0 || l.Catching > 0 || l.Closing }

// Subscription is one of a connection.
type Subscription struct {
	Channel string `json:"channel"`
	State   string `json:"state"`
	Deltas  bool   `json:"deltas"`
	Waiting int    `json:"waiting"`
	Skipped int    `json:"skipped"`
	// Place is the serial that it has reached, Head that of the newest event here.
	Place uint64 `json:"place"`
	Head  uint64 `json:"head"`
	// Oldest is how many milliseconds ago the oldest event was stored that waits for it.
	Oldest int64 `json:"lag_ms"`
}

// Member is somebody in a presence channel.
type Member struct {
	ID   string `json:"id"`
	Info string `json:"info"`
}

// Count is how many there are on all gateways.
type Count struct {
	Subscriptions int `json:"subscriptions"`
	Members       int `json:"members"`
}

// Event is an event of a channel. Data is its beginning, Size the whole in bytes.
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
	// Form is full or delta, what a subscriber with deltas gets, or plain for what takes no
	// part in them; empty for what was read from the log.
	Form string `json:"form,omitempty"`
	// Full and Wire are the sizes of the frame in full and as it is sent, in bytes.
	Full int    `json:"full_bytes,omitempty"`
	Wire int    `json:"wire_bytes,omitempty"`
	Key  string `json:"key,omitempty"`
}

// Cluster is what a gateway knows of all.
type Cluster struct {
	Gateways []Node   `json:"gateways"`
	Differ   []string `json:"settings_differ"`
	Streams  []Stream `json:"streams"`
	// Note says why there are no streams, or not all.
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

// Stream is where the log, or what lies beside it, keeps something.
type Stream struct {
	Name     string `json:"name"`
	Purpose  string `json:"purpose"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	Subjects uint64 `json:"subjects"`
	// Copies are how many there should be, Leader who leads them, empty where there is no
	// cluster, and Late names those that are not up to date.
	Copies  int      `json:"copies"`
	Leader  string   `json:"leader"`
	Late    []string `json:"late"`
	Problem string   `json:"problem,omitempty"`
}

// millis is a time in Unix milliseconds, 0 for none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
