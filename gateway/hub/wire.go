package hub

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// wire is the connection that the WebSocket library sees. Once the handshake is
// through, what the library writes (pongs, close frames) goes through the
// outbox, so that there is one order and nothing blocks.
type wire struct {
	net.Conn
	client   *Client
	upgraded atomic.Bool
}

func (w *wire) Write(p []byte) (int, error) {
	if !w.upgraded.Load() {
		return w.Conn.Write(p)
	}
	if b := unreadable(p); b != nil {
		w.client.refuseFrame(b)
		return len(p), nil
	}
	if !w.client.send(socket.NewFrame(bytes.Clone(withoutReason(p)), 0)) {
		return 0, net.ErrClosed
	}
	return len(p), nil
}

// unreadable says what is wrong with a message that the library could not inflate or
// decode. It has no other word for the first than an internal error.
func unreadable(p []byte) *badFrame {
	const internalError = 1011
	if len(p) < 4 || p[0] != websocket.Fin|websocket.Close {
		return nil
	}
	switch code := binary.BigEndian.Uint16(p[2:]); {
	case code == closeInvalidData:
		return frameNotText
	case code != internalError:
		return nil
	case bytes.Contains(p, []byte("too large")):
		return frameTooLarge
	}
	return frameNotInflate
}

// withoutReason takes what the library says of itself out of a close frame, as that the
// connection has ended. Other frames stay as they are.
func withoutReason(p []byte) []byte {
	if len(p) <= 4 || p[0] != websocket.Fin|websocket.Close {
		return p
	}
	return websocket.Closing(binary.BigEndian.Uint16(p[2:]), "").Bytes()
}

// Close lets the queue run empty first; the reading goroutine closes the real
// connection.
func (w *wire) Close() error {
	if !w.upgraded.Load() {
		return w.Conn.Close()
	}
	w.client.sock.End(nil)
	return nil
}

func (w *wire) SetDeadline(t time.Time) error {
	if !w.upgraded.Load() {
		return w.Conn.SetDeadline(t)
	}
	return nil
}

func (w *wire) SetWriteDeadline(time.Time) error { return nil }
