//go:build linux && !race

package rawio

import (
	"syscall"
	"unsafe"
)

const possible = true

// readOnce and writeOnce make one system call on a non-blocking descriptor. p must not be empty. A call
// interrupted by a signal is repeated.
func readOnce(fd uintptr, p []byte) (int, syscall.Errno)  { return call(syscall.SYS_READ, fd, p) }
func writeOnce(fd uintptr, p []byte) (int, syscall.Errno) { return call(syscall.SYS_WRITE, fd, p) }

func call(number, fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
