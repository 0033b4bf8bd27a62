//go:build linux && race

package rawio

import (
	"errors"
	"syscall"
)

const possible = true

// The race detector takes what one goroutine reads for an effect of what another one wrote. It
// knows of such calls only by these.

func readOnce(fd uintptr, p []byte) (int, syscall.Errno) {
	return again(func() (int, error) { return syscall.Read(int(fd), p) })
}

func writeOnce(fd uintptr, p []byte) (int, syscall.Errno) {
	return again(func() (int, error) { return syscall.Write(int(fd), p) })
}

func again(call func() (int, error)) (int, syscall.Errno) {
	for {
		n, err := call()
		var errno syscall.Errno
		if errors.As(err, &errno); errno != syscall.EINTR {
			return max(n, 0), errno
		}
	}
}
