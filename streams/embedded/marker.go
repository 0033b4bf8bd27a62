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

// enter notes that a server runs and reports whether the machine went down under
// the previous one.
func enter(dir string) (unclean bool, err error) {
	path := filepath.Join(dir, markerName)
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("embedded NATS: store directory: %w", err)
	}
	id := bootID()
	unclean = err == nil && strings.TrimSpace(string(old)) != id
	if err := os.WriteFile(path, []byte(id+"\n"), 0o640); err != nil {
		return false, fmt.Errorf("embedded NATS: store directory: %w", err)
	}
	return unclean, nil
}

func leave(dir string) error { return os.Remove(filepath.Join(dir, markerName)) }
