package gateway

import (
	"net"
	"syscall"
)

// acceptQueued accepts the connections that wait in the backlog of a listener, and returns their descriptors.
func acceptQueued(l net.Listener) (files []uintptr) {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	_ = raw.Control(func(fd uintptr) {
		for {
			n, _, err := syscall.Accept4(int(fd), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
			switch err {
			case nil:
				files = append(files, uintptr(n))
			case syscall.EINTR, syscall.ECONNABORTED:
			default:
				return
			}
		}
	})
	return files
}
