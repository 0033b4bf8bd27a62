package websocket

import (
	"fmt"
	"net/http"
	"strings"
)

// HandshakeError is why a request is not a WebSocket handshake, in words for an operator who sets up a proxy.
type HandshakeError struct {
	// Reason is a label for metrics.
	Reason string
	Status int
	Text   string
	// Meant: the request was meant to be a handshake.
	Meant bool
}

// HandshakeReasons are the reasons of CheckHandshake.
var HandshakeReasons = [...]string{"method", "upgrade", "connection", "version", "key"}

// CheckHandshake checks what RFC 6455 section 4.2.1 requires of a request. It changes the headers to the form
// that the WebSocket library understands, because they may have several lines and several values.
func CheckHandshake(r *http.Request) *HandshakeError {
	switch {
	case r.Method != http.MethodGet:
		return &HandshakeError{Reason: "method", Status: http.StatusUpgradeRequired,
			Text: "this is a WebSocket endpoint; a handshake is a GET, not a " + r.Method}
	case !Asked(r.Header):
		return &HandshakeError{Reason: "upgrade", Status: http.StatusUpgradeRequired, Text: "this is a WebSocket endpoint, and the request has no header " +
			"`Upgrade: websocket`; a proxy in front has to pass on `Upgrade` and `Connection`"}
	case !hasToken(r.Header, "Connection", "upgrade"):
		return &HandshakeError{"connection", http.StatusBadRequest, "the handshake has `Upgrade: websocket` and no `Connection: Upgrade`; " +
			"a proxy in front has to pass on both", true}
	case r.Header.Get("Sec-Websocket-Version") != "13":
		return &HandshakeError{"version", http.StatusUpgradeRequired, fmt.Sprintf("Sec-WebSocket-Version is %.20q, 13 is offered",
			r.Header.Get("Sec-Websocket-Version")), true}
	case r.Header.Get("Sec-Websocket-Key") == "":
		return &HandshakeError{"key", http.StatusBadRequest, "the handshake has no Sec-WebSocket-Key; a proxy in front has to pass it on", true}
	}
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Connection", "Upgrade")
	return nil
}

// Asked reports whether a request asks for a WebSocket. Upgrades to other protocols are not offered, and such
// a request is handled like any other (RFC 9110 section 7.8).
func Asked(h http.Header) bool { return hasToken(h, "Upgrade", "websocket") }

// hasToken reports whether a header has a token among its values, whatever its case.
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
