package hub

import (
	"github.com/lxzan/gws"

	"github.com/sluicehq/sluice/gateway/fanout"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// deflateOption is per-message compression without context takeover in either direction. So compressed frames
// can be shared by all sockets, and no connection keeps a window.
var deflateOption = gws.PermessageDeflate{
	Enabled: true, Level: websocket.PackLevel, Threshold: websocket.PackMin, PoolSize: 8,
}

// openSockets creates the group of all sockets, their kinds and the shards.
func (h *Hub) openSockets() {
	sockets := socket.NewGroup(socket.Options{
		TotalBytes: h.opt.TotalQueueBytes, SlowAge: h.opt.SlowAge, Linger: h.opt.Linger, Now: h.opt.Now,
	})
	for d := range h.kinds {
		plain := socket.Kind{
			Frames: h.opt.QueueFrames, Bytes: h.opt.QueueBytes, Last: fanout.CloseFrames(pusher.Dialect(d), pusher.CloseOverCapacity, pusher.CloseOverCapacity.Message()),
		}
		packed := plain
		packed.Form = websocket.Packed
		h.kinds[d] = [...]socket.Kind{plain, packed}
	}
	h.hall = fanout.NewHall(&fanout.Hall{
		Sockets: sockets, Reconnect: fanout.CloseFrames(pusher.V1, pusher.CloseReconnect, reasonMissing),
		MessageID: h.messageID, Encoded: h.opt.Metrics.encoded, Replayed: h.opt.Metrics.replayed, MaxBases: h.opt.TotalBaseBytes,
		Handed: h.opt.Metrics.delivery.Against(h.opt.LogTime),
	}, h.opt.Shards)
	h.connections = make([]connections, h.opt.Shards)
}

// kind returns the kind of a connection's socket.
func (h *Hub) kind(d pusher.Dialect, deflates bool) *socket.Kind {
	if deflates {
		return &h.kinds[d][1]
	}
	return &h.kinds[d][0]
}
