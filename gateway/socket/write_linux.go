//go:build linux

package socket

import (
	"syscall"
	"unsafe"
)

const rawWrites = true

// writeOnce calls write(2) on a non-blocking descriptor without telling the scheduler: such a call is as
// short as ordinary code, and saving the notification is worth 16 to 30 % of throughput. The descriptor must
// never be one that may block.
func writeOnce(fd uintptr, p []byte) (int, syscall.Errno) {
	if len(p) == 0 {
		return 0, 0
	}
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}
