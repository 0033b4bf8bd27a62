//go:build !linux

package hub

import "syscall"

const rawWrites = false

func writeOnce(uintptr, []byte) (int, syscall.Errno) { return 0, syscall.EAGAIN }
