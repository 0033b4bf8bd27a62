//go:build unix

package process

import (
	"math"
	"syscall"
)

// systemLimit returns the soft limit of descriptors.
func systemLimit() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return int(min(uint64(l.Cur), math.MaxInt32))
}
