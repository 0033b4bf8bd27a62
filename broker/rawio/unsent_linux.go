package rawio

import (
	"syscall"
	"unsafe"
)

// unsent asks the kernel what it keeps of what was written.
func unsent(fd uintptr) int {
	var n int32
	if _, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n))); errno != 0 {
		return 0
	}
	return int(n)
}
