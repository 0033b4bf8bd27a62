package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/test/fault"
)

// TestR13DiskFull fills the disk under the log. Every event answered with 200 is stored, an event that cannot
// be stored is refused, and /ready says so. The NATS server does not recover by itself: it needs room on the
// disk and a restart. After that no acknowledged event is missing.
func TestR13DiskFull(t *testing.T) { fault.Seeds(t, 13, fillDisk) }

func fillDisk(t *testing.T, rnd *rand.Rand) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=24m"); err != nil {
		t.Skip("a small disk cannot be mounted: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	filler := filepath.Join(disk, "filler")
	if err := os.WriteFile(filler, make([]byte, (8+rnd.IntN(8))<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	yaml := strings.Replace(config(disk, "http: {publish_timeout: 2s}"), "nats:\n  embedded: {", "nats:\n  embedded: {max_store: 8589934592, ", 1)
	s := serve(t, t.TempDir(), yaml)
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	acked, refused := 0, 0
	// On a busy machine an event may be refused because of a time-out.
	idle := time.NewTimer(patience)
	defer idle.Stop()
	for full := false; !full; {
		err := publishSigned(client, s.HTTP, fmt.Sprint("room-", acked/90), "e", strings.Repeat("x", 1+rnd.IntN(10_000)))
		if err != nil {
			refused++
			status, says := readiness(client, s)
			full = status == http.StatusServiceUnavailable && strings.Contains(says, "the log cannot be written")
			select {
			case <-idle.C:
				t.Fatalf("/ready answers %d %s while nothing can be stored", status, says)
			default:
			}
			continue
		}
		idle.Reset(patience)
		if acked++; acked > 50_000 {
			t.Fatal("250 MB were taken for a disk of 24")
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.stop()
	s = serve(t, t.TempDir(), yaml)
	stored := 0
	for room := range acked/90 + 1 {
		stored += len(history(t, s, fmt.Sprint("room-", room), "newest_first", "").Items)
	}
	// A refused event may have been stored nevertheless; an acknowledged one must be.
	if stored < acked || stored > acked+refused {
		t.Errorf("%d events were acknowledged and %d refused, %d are stored", acked, refused, stored)
	}
	eventually(t, "an event is stored with room on the disk", func() bool { return publishSigned(client, s.HTTP, "room-0", "e", "x") == nil })
	t.Logf("%d acknowledged, %d stored", acked, stored)
}
