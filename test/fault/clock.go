package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// AheadEnv names the environment variable that holds by how many seconds the clock of a program built by
// [BuildWithOwnClock] is ahead; it may be negative.
const AheadEnv = "CLOCK_AHEAD"

var readsClock = regexp.MustCompile(`(?m)^(func Now\(\) Time \{\n\t)(sec, nsec, mono := \w+\(\)\n)`)

// BuildWithOwnClock builds the tests of the package in the current directory into a program in dir whose wall
// clock may differ from that of the machine. Go programs read the clock without the C library, so the clock
// cannot be replaced from outside: the program is compiled with a package time that adds a number of seconds
// to the result of [time.Now]. Nothing else differs, and durations are measured as usual. It includes the
// race detector, and takes a minute or two the first time.
func BuildWithOwnClock(ctx context.Context, dir string) (program string, err error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("asking for GOROOT: %w", err)
	}
	original := filepath.Join(strings.TrimSpace(string(out)), "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	if n := len(readsClock.FindAll(text, -1)); n != 1 {
		return "", fmt.Errorf("%s reads the clock at %d places that are known, want 1", original, n)
	}
	text = readsClock.ReplaceAll(text, []byte("${1}${2}\tsec += ahead\n"))
	text = append(text, `
// ahead is what the environment adds to the clock, in seconds.
var ahead = func() (n int64) {
	text, _ := syscall.Getenv("`+AheadEnv+`")
	negative := len(text) > 0 && text[0] == '-'
	for i := 0; i < len(text); i++ {
		if text[i] >= '0' && text[i] <= '9' {
			n = n*10 + int64(text[i]-'0')
		}
	}
	if negative {
		return -n
	}
	return n
}()
`...)
	text = bytes.Replace(text, []byte("import (\n"), []byte("import (\n\t\"syscall\"\n"), 1)
	patched := filepath.Join(dir, "time.go")
	if err := os.WriteFile(patched, text, 0o600); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: patched}})
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return "", err
	}
	program = filepath.Join(dir, "ownclock.test")
	cmd := exec.CommandContext(ctx, "go", "test", "-race", "-c", "-vet=off", "-overlay", list, "-o", program, ".")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building with another clock: %w\n%s", err, text)
	}
	return program, nil
}
