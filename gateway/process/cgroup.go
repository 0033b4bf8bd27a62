package process

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// noLimit is the value from which on a limit of cgroup version 1 means no limit.
const noLimit = 1 << 60

// cgroupLimit returns the lowest memory limit of the process's cgroup and its ancestors in bytes, 0 for none. It
// supports cgroup versions 1 and 2, also mixed.
func cgroupLimit(root fs.FS) int64 {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	least := int64(0)
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		file, mounts := "", []string(nil)
		switch {
		case parts[0] == "0" && parts[1] == "":
			file, mounts = "memory.max", []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}
		case hasMemory(parts[1]):
			file, mounts = "memory.limit_in_bytes", []string{"sys/fs/cgroup/memory"}
		}
		for _, mount := range mounts {
			if n := leastLimit(root, mount, parts[2], file); n > 0 && (least == 0 || n < least) {
				least = n
			}
		}
	}
	return least
}

func hasMemory(controllers string) bool {
	for c := range strings.SplitSeq(controllers, ",") {
		if c == "memory" {
			return true
		}
	}
	return false
}

// leastLimit returns the lowest limit from a group up to the root. In a container, the path of the group may not
// exist, because the mounted root is the group itself.
func leastLimit(root fs.FS, mount, group, file string) int64 {
	least := int64(0)
	at := path.Join(mount, group)
	if !strings.HasPrefix(at, mount) {
		at = mount
	}
	for ; strings.HasPrefix(at, mount); at = path.Dir(at) {
		text, err := fs.ReadFile(root, path.Join(at, file))
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && n > 0 && n < noLimit && (least == 0 || n < least) {
			least = n
		}
	}
	return least
}

// machineMemory returns the memory of the machine in bytes, 0 if it is unknown.
func machineMemory(root fs.FS) int64 {
	text, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}
