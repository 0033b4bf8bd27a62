package socket

import (
	"io"
	"net"
	"net/http"
	"time"
)

// TakeOver takes the connection of a request from the HTTP server, and returns what the client has already
// sent after the request. sendBuffer bounds the kernel's send buffer in bytes, 0 leaves it to the system.
func TakeOver(w http.ResponseWriter, sendBuffer int) (net.Conn, []byte, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	if tcp, ok := Below(conn).(interface{ SetWriteBuffer(int) error }); ok && sendBuffer > 0 {
		_ = tcp.SetWriteBuffer(sendBuffer)
	}
	// These bytes are in the buffer of the server and must not be lost.
	var early []byte
	if n := rw.Reader.Buffered(); n > 0 {
		early = make([]byte, n)
		if _, err := io.ReadFull(rw.Reader, early); err != nil {
			_ = conn.Close()
			return nil, nil, err
		}
	}
	return conn, early, nil
}
