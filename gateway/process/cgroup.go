package process

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// noLimit is where version 1 of cgroups begins to mean that there is none.
const noLimit = 1 << 60

// cgroupLimit is the least limit of memory of the process's cgroup and those above it,
// in bytes, 0 for none. Both versions are understood, also mixed.
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

// leastLimit goes from a group up to the root. In a container the group's own path may
// not be there, because its group is the root of what is mounted.
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

// machineMemory is what the machine has, in bytes, 0 if it does not say.
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
