package hub

import (
	"fmt"
	"net/http"
	"strings"
)

// handshakeError is why a request is no WebSocket handshake, in words for who reads the
// answer of a proxy that was set up a moment ago.
type handshakeError struct {
	// reason is the label of the metric.
	reason string
	status int
	text   string
	// meant: it was to be a handshake.
	meant bool
}

// handshakeReasons are all reasons, for the metric.
var handshakeReasons = [...]string{"method", "upgrade", "connection", "version", "key", "stopping", "takeover"}

// checkHandshake checks what RFC 6455 section 4.2.1 asks of a request, and leaves it in
// the form in which the WebSocket library understands it: headers may come in several
// lines and have several values.
func checkHandshake(r *http.Request) *handshakeError {
	switch {
	case r.Method != http.MethodGet:
		return &handshakeError{reason: "method", status: http.StatusUpgradeRequired,
			text: "this is a WebSocket endpoint; a handshake is a GET, not a " + r.Method}
	case !hasToken(r.Header, "Upgrade", "websocket"):
		return &handshakeError{reason: "upgrade", status: http.StatusUpgradeRequired, text: "this is a WebSocket endpoint, and the request has no header " +
			"`Upgrade: websocket`; a proxy in front has to pass on `Upgrade` and `Connection`"}
	case !hasToken(r.Header, "Connection", "upgrade"):
		return &handshakeError{"connection", http.StatusBadRequest, "the handshake has `Upgrade: websocket` and no `Connection: Upgrade`; " +
			"a proxy in front has to pass on both", true}
	case r.Header.Get("Sec-Websocket-Version") != "13":
		return &handshakeError{"version", http.StatusUpgradeRequired, fmt.Sprintf("Sec-WebSocket-Version is %.20q, 13 is offered",
			r.Header.Get("Sec-Websocket-Version")), true}
	case r.Header.Get("Sec-Websocket-Key") == "":
		return &handshakeError{"key", http.StatusBadRequest, "the handshake has no Sec-WebSocket-Key; a proxy in front has to pass it on", true}
	}
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Connection", "Upgrade")
	return nil
}

// hasToken tells whether one of the values of a header is a token, in any case.
func hasToken(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for value := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(value), token) {
				return true
			}
		}
	}
	return false
}

// noHandshake answers a request that is no handshake.
func (h *Hub) noHandshake(w http.ResponseWriter, r *http.Request, e *handshakeError) {
	h.opt.Metrics.noHandshake(e.reason)
	about := []any{"reason", e.reason, "address", r.RemoteAddr, "text", e.text}
	h.opt.Logger.Debug("a WebSocket handshake was refused", about...)
	if e.meant && e.reason != "stopping" {
		h.refusals.Warn(h.opt.Logger, "handshake/"+e.reason, "WebSocket handshakes are refused", about...)
	}
	switch e.status {
	case http.StatusUpgradeRequired:
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Sec-WebSocket-Version", "13")
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, e.text, e.status)
}
