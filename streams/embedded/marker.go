package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// markerName is a file that holds the boot id of the machine while a server runs
// on the directory. A file that is left behind with another boot id tells of a
// crashed machine; with the same one of a killed process, which loses nothing.
const markerName = "sluice.running"

func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

// enter records that a server runs on the directory, and reports whether the machine crashed under the previous one.
// In that case it leaves the marker of that boot: if this start fails, the next one must still know of the crash. See
// settle.
func enter(dir string) (unclean bool, err error) {
	old, err := os.ReadFile(filepath.Join(dir, markerName))
	switch {
	case err == nil && strings.TrimSpace(string(old)) != bootID():
		return true, nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return false, fmt.Errorf("embedded NATS: store directory: %w", err)
	}
	if err := settle(dir); err != nil {
		return false, fmt.Errorf("embedded NATS: store directory: %w", err)
	}
	return false, nil
}

// settle writes the marker of this boot.
func settle(dir string) error {
	return os.WriteFile(filepath.Join(dir, markerName), []byte(bootID()+"\n"), 0o640)
}

func leave(dir string) error { return os.Remove(filepath.Join(dir, markerName)) }
