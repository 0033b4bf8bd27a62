//go:build linux

package socket

import (
	"syscall"
	"time"
	"unsafe"
)

// tcpUserTimeout is TCP_USER_TIMEOUT, for which package syscall has no name.
const tcpUserTimeout = 18

// expectAnswer makes the kernel give up a connection whose peer has not acknowledged sent bytes for that
// long. Its default is about a quarter of an hour.
func expectAnswer(fd int, within time.Duration) {
	// Sockets other than TCP do not have this option, and do not need it.
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpUserTimeout, int(within.Milliseconds()))
}

// waits reports whether the kernel has bytes of the peer that were not read yet.
func waits(fd int) bool {
	var n int32
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.TIOCINQ, uintptr(unsafe.Pointer(&n)))
	return errno == 0 && n > 0
}
