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
	// Reconnect ends sockets that cannot be told of a gap in another way.
	Reconnect *socket.Frame
	// MessageID names a frame of the protocol.
	MessageID func() string
	// Encoded is told how long a delta frame took, Replayed how long the frames of the past
	// are that were sent.
	Encoded  func(time.Duration)
	Replayed func(app string, bytes int)
	// Handed is told of events that a shard has handed to the sockets of its subscribers, once a
	// round, by whoever does it. The list is the shard's. Nil is nobody.
	Handed   func([]Handed)
	encoders sync.Pool
	// BaseKeys and BaseBytes are what all channels keep as bases, MaxBases bounds the bytes.
	BaseKeys, BaseBytes atomic.Int64
	MaxBases            int64
	// Early bounds the publications that wait for their channels.
	Early EarlyRoom
	// Catching is how many subscriptions are sent the past.
	Catching atomic.Int64
	Shards   []*Shard
}

// NewHall returns a hall with that many shards, which the caller runs.
func NewHall(h *Hall, shards int) *Hall {
	h.encoders.New = func() any { return new(encoder) }
	for i := range shards {
		h.Shards = append(h.Shards, newShard(h, i))
	}
	return h
}

// Prompt says whether all shards have room for much more than one publication.
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

// ControlFrame is a frame of the protocol itself. size is an estimate of its payload.
func ControlFrame(d pusher.Dialect, size int, f *pusher.Control) *socket.Frame {
	if d == pusher.Events {
		return socket.NewFrame(pusher.AppendControl(make([]byte, 0, size), d, f), 0)
	}
	return websocket.Seal(pusher.AppendControl(websocket.Buffer(size), d, f), websocket.Text)
}

// CloseFrames is an error event that says why a connection ends and the close frame that follows
// it, as one unit, so that nothing can come between them. An event stream ends without one.
func CloseFrames(d pusher.Dialect, code pusher.CloseCode, reason string) *socket.Frame {
	if d == pusher.Events {
		return socket.NewFrame(pusher.AppendStreamEnd(nil, code, reason), 0)
	}
	return socket.Join(ControlFrame(d, 160, &pusher.Control{
		Event:  "error",
		Object: pusher.AppendErrorData(nil, pusher.ErrorCode(code), reason),
	}), websocket.Closing(uint16(code), reason))
}
