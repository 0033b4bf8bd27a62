package gateway

import (
	"errors"
	"net"
	"syscall"
)

// listening sets TCP keep-alive on the listener, with Go's default values, so that accepted connections
// inherit it. Setting it for each connection takes four system calls.
func listening() net.ListenConfig {
	return net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		var wrong error
		err := c.Control(func(fd uintptr) {
			for _, o := range []struct{ level, name, value int }{
				{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
				{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 15},
				{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 15},
				{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 9},
			} {
				wrong = errors.Join(wrong, syscall.SetsockoptInt(int(fd), o.level, o.name, o.value))
			}
		})
		return errors.Join(err, wrong)
	}}
}
