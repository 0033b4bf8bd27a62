//go:build unix

package embedded

import (
	"os"
	"syscall"
)

func exclusive(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
