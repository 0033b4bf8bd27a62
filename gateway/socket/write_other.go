//go:build !linux

package socket

import "syscall"

const rawWrites = false

func writeOnce(uintptr, []byte) (int, syscall.Errno) { return 0, syscall.EAGAIN }
