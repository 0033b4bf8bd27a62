//go:build linux

package socket

import (
	"syscall"
	"time"
	"unsafe"
)

// tcpUserTimeout is TCP_USER_TIMEOUT, which package syscall does not name.
const tcpUserTimeout = 18

// expectAnswer has the kernel give a connection up whose peer does not acknowledge for so long
// what it was sent. By itself it tries for a quarter of an hour.
func expectAnswer(fd int, within time.Duration) {
	// A socket that has no such option, as one that is no TCP, needs none.
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpUserTimeout, int(within.Milliseconds()))
}

// waits says whether the kernel has bytes of the peer that nobody has read.
func waits(fd int) bool {
	var n int32
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.TIOCINQ, uintptr(unsafe.Pointer(&n)))
	return errno == 0 && n > 0
}
