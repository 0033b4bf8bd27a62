package rawio

import "golang.org/x/sys/unix"

// unsent asks the kernel what it keeps of what was written.
func unsent(fd uintptr) int {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}
