package socket

import (
	"io"
	"net"
	"net/http"
	"time"
)

// TakeOver takes the connection of a request from the HTTP server, with what the client has sent
// behind the request already. sendBuffer is what the kernel may hold for it, 0 for what it will.
func TakeOver(w http.ResponseWriter, sendBuffer int) (net.Conn, []byte, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	if tcp, ok := Below(conn).(interface{ SetWriteBuffer(int) error }); ok && sendBuffer > 0 {
		_ = tcp.SetWriteBuffer(sendBuffer)
	}
	// That is in the server's buffer and must not be lost.
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
