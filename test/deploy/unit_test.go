package deploy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// settings are those of the unit, by name; of several with one name the last counts.
func settings(t *testing.T, text string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			out[name] = value
		}
	}
	return out
}

func TestRun06TheUnitIsToldAndHasNoRights(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(kit, "sluice.service"))
	if err != nil {
		t.Fatal(err)
	}
	s := settings(t, string(text))
	for name, want := range map[string]string{
		"Type": "notify", "NotifyAccess": "main", "KillSignal": "SIGTERM", "ExecReload": "/bin/kill -HUP $MAINPID", "Restart": "on-failure",
		"CapabilityBoundingSet": "", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "User": "sluice", "StateDirectory": "sluice",
		// The log knows by the boot id whether the machine was restarted.
		"ProcSubset": "",
	} {
		if s[name] != want {
			t.Errorf("%s is %q, not %q", name, s[name], want)
		}
	}
	if s["WatchdogSec"] == "" || s["LimitNOFILE"] == "" || s["TimeoutStopSec"] == "" || s["TimeoutStartSec"] == "" {
		t.Errorf("times and limits are missing: %v", s)
	}
}

// TestRun06SystemdTakesTheUnit asks systemd itself, where it is installed.
func TestRun06SystemdTakesTheUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	text, err := os.ReadFile(filepath.Join(kit, "sluice.service"))
	if err != nil {
		t.Fatal(err)
	}
	// The program need not be installed here.
	here, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "sluice.service")
	if err := os.WriteFile(unit, bytes.ReplaceAll(text, []byte("/usr/local/bin/sluice"), []byte(here)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), analyze, "verify", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("verify: %v\n%s", err, out)
	}
	// Of 100, 15 is what a service of the network comes to that needs nothing else.
	if out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--no-pager", "--threshold=15", unit).CombinedOutput(); err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
}
