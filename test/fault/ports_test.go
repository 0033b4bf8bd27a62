package fault

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const portsEnv = "TELL_PORTS"

// TestPortsOfProcessesDiffer has two processes take ports of more than one block each.
func TestPortsOfProcessesDiffer(t *testing.T) {
	const n = 3 * blockSize / 2
	mine := Ports(t, n)
	if os.Getenv(portsEnv) != "" {
		for _, port := range mine {
			_, _ = os.Stdout.WriteString("port " + strconv.Itoa(port) + "\n")
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestPortsOfProcessesDiffer$", "-test.v")
	cmd.Env = append(os.Environ(), portsEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	theirs := 0
	for line := range strings.Lines(string(out)) {
		if port, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(line), "port ")); err == nil {
			theirs++
			if slices.Contains(mine, port) {
				t.Errorf("%d belongs to both", port)
			}
		}
	}
	slices.Sort(mine)
	if theirs != n || len(slices.Compact(mine)) != n {
		t.Errorf("%d and %d ports, not %d", len(slices.Compact(mine)), theirs, n)
	}
}
