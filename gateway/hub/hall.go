package hub

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// hall is what all shards share.
type hall struct {
	sockets *socket.Group
	// reconnect ends sockets that cannot be told of a gap in another way.
	reconnect *socket.Frame
	// messageID names a frame of the protocol.
	messageID func() string
	// encoded is told how long a delta frame took, replayed how long the frames of the past
	// are that were sent.
	encoded  func(time.Duration)
	replayed func(app string, bytes int)
	encoders sync.Pool
	// baseKeys and baseBytes are what all channels keep as bases, maxBases bounds the bytes.
	baseKeys, baseBytes atomic.Int64
	maxBases            int64
	// catching is how many subscriptions are sent the past.
	catching atomic.Int64
	shards   []*shard
}

// newHall returns a hall with that many shards, which the caller runs.
func newHall(h *hall, shards int) *hall {
	h.encoders.New = func() any { return new(encoder) }
	for i := range shards {
		h.shards = append(h.shards, newShard(h, i))
	}
	return h
}

func (h *hall) encoder() *encoder     { return h.encoders.Get().(*encoder) }
func (h *hall) putEncoder(e *encoder) { h.encoders.Put(e) }

// controlFrame is a frame of the protocol itself. size is an estimate of its payload.
func controlFrame(d pusher.Dialect, size int, f *pusher.Control) *socket.Frame {
	return websocket.Seal(pusher.AppendControl(websocket.Buffer(size), d, f), websocket.Text)
}
