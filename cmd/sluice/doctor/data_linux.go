package doctor

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// The kinds of file systems by their magic numbers.
var kinds = map[int64]string{
	unix.TMPFS_MAGIC: "tmpfs", unix.NFS_SUPER_MAGIC: "nfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs", 0xff534d42: "cifs", 0xfe534d42: "smb",
}

// fill adds what the system knows about the examined directory.
func (d *Data) fill() {
	d.Writable = unix.Access(d.Looked, unix.W_OK|unix.X_OK) == nil
	var s unix.Statfs_t
	if unix.Statfs(d.Looked, &s) == nil {
		d.Free, d.Whole, d.FileSystem = int64(s.Bavail)*s.Bsize, int64(s.Blocks)*s.Bsize, kinds[int64(s.Type)]
	}
	if d.Writable {
		d.Sync = syncCost(d.Looked)
	}
}

// syncCost returns the median time for writing 4 KiB to the disk, 0 if it cannot be measured without leaving a
// trace. The file has no name, so it disappears in any case.
func syncCost(dir string) time.Duration {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return 0
	}
	defer func() { _ = unix.Close(fd) }()
	block, times := make([]byte, 4096), make([]time.Duration, 0, 16)
	for n := range cap(times) {
		began := time.Now()
		if _, err := unix.Pwrite(fd, block, int64(n)*int64(len(block))); err != nil || unix.Fdatasync(fd) != nil {
			return 0
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	return max(times[len(times)/2], 1)
}
