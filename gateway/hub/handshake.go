package hub

import (
	"net/http"

	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// handshakeReasons are the reasons in the metric that are not faults of the request.
var handshakeReasons = [...]string{"stopping", "takeover"}

// noHandshake answers a request that is not a valid handshake.
func (h *Hub) noHandshake(w http.ResponseWriter, r *http.Request, e *websocket.HandshakeError) {
	h.opt.Metrics.noHandshake(e.Reason)
	about := []any{"reason", e.Reason, "address", r.RemoteAddr, "text", e.Text}
	h.opt.Logger.Debug("a WebSocket handshake was refused", about...)
	if e.Meant && e.Reason != "stopping" {
		h.refusals.Warn(h.opt.Logger, "handshake/"+e.Reason, "WebSocket handshakes are refused", about...)
	}
	switch e.Status {
	case http.StatusUpgradeRequired:
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Sec-WebSocket-Version", "13")
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, e.Text, e.Status)
}
