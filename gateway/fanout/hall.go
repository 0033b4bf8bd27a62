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
	encoders sync.Pool
	// BaseKeys and BaseBytes are what all channels keep as bases, MaxBases bounds the bytes.
	BaseKeys, BaseBytes atomic.Int64
	MaxBases            int64
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

func (h *Hall) encoder() *encoder     { return h.encoders.Get().(*encoder) }
func (h *Hall) putEncoder(e *encoder) { h.encoders.Put(e) }

// ControlFrame is a frame of the protocol itself. size is an estimate of its payload.
func ControlFrame(d pusher.Dialect, size int, f *pusher.Control) *socket.Frame {
	return websocket.Seal(pusher.AppendControl(websocket.Buffer(size), d, f), websocket.Text)
}
