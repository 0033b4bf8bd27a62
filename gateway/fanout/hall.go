package fanout

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// Hall is what all shards share.
type Hall struct {
	Sockets *socket.Group
	// Reconnect closes V1 sockets, which cannot be told of a gap in another way.
	Reconnect *socket.Frame
	// MessageID returns a unique id for a protocol frame.
	MessageID func() string
	// Encoded is told how long it took to make a delta frame, Replayed the size of each frame of the past
	// that was sent.
	Encoded  func(time.Duration)
	Replayed func(app string, bytes int)
	// Handed is told of the events that a shard has handed to sockets, once per round, by the goroutine that
	// runs the round. The list is valid only during the call. It may be nil.
	Handed   func([]Handed)
	encoders sync.Pool
	// BaseKeys and BaseBytes are the totals of the bases of all channels, MaxBases bounds the bytes.
	BaseKeys, BaseBytes atomic.Int64
	MaxBases            int64
	// Early bounds the publications that wait for their channels to be primed.
	Early EarlyRoom
	// Catching is the number of subscriptions that are catching up.
	Catching atomic.Int64
	Shards   []*Shard
}

// NewHall completes h and gives it that many shards, which the caller runs.
func NewHall(h *Hall, shards int) *Hall {
	h.encoders.New = func() any { return new(encoder) }
	for i := range shards {
		h.Shards = append(h.Shards, newShard(h, i))
	}
	return h
}

// Prompt reports whether the queue of every shard is at most half full.
func (h *Hall) Prompt() bool {
	for _, s := range h.Shards {
		if s.laden.Load() {
			return false
		}
	}
	return true
}

func (h *Hall) encoder() *encoder     { return h.encoders.Get().(*encoder) }
func (h *Hall) putEncoder(e *encoder) { h.encoders.Put(e) }

// ControlFrame returns a frame of the protocol itself. size is an estimate of its payload in bytes.
func ControlFrame(d pusher.Dialect, size int, f *pusher.Control) *socket.Frame {
	if d == pusher.Events {
		return socket.NewFrame(pusher.AppendControl(make([]byte, 0, size), d, f), 0)
	}
	return websocket.Seal(pusher.AppendControl(websocket.Buffer(size), d, f), websocket.Text)
}

// CloseFrames returns an error event that says why a connection ends, and the close frame after it, as one
// unit, so that nothing can come between them. An event stream has no close frame.
func CloseFrames(d pusher.Dialect, code pusher.CloseCode, reason string) *socket.Frame {
	if d == pusher.Events {
		return socket.NewFrame(pusher.AppendStreamEnd(nil, code, reason), 0)
	}
	return socket.Join(ControlFrame(d, 160, &pusher.Control{
		Event:  "error",
		Object: pusher.AppendErrorData(nil, pusher.ErrorCode(code), reason),
	}), websocket.Closing(uint16(code), reason))
}
