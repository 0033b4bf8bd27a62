//go:build !linux

package rawio

import "syscall"

const possible = false

func readOnce(uintptr, []byte) (int, syscall.Errno)  { return 0, syscall.ENOSYS }
func writeOnce(uintptr, []byte) (int, syscall.Errno) { return 0, syscall.ENOSYS }
