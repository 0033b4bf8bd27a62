// Package journeys has what a new user would do, as scripts that follow the pages alone.
package journeys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/test/fault"
)

// patience is for a journey that hangs. Each takes less than a minute on a machine of its own.
const patience = 8 * time.Minute

// tools are built once for all journeys.
var tools struct{ sluice, old string }

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sluice-journeys-")
	if err == nil {
		tools.sluice = filepath.Join(dir, "sluice")
		err = build(root(), tools.sluice)
	}
	if err == nil {
		tools.old, err = buildBefore(dir)
	}
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

func build(dir, to string) error {
	cmd := exec.Command("go", "build", "-o", to, "./cmd/sluice")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building sluice in %s: %w\n%s", dir, err, out)
	}
	return nil
}

// buildBefore builds the program of the commit before, or of JOURNEYS_FROM. Without a history it
// is that of today.
func buildBefore(dir string) (string, error) {
	from := os.Getenv("JOURNEYS_FROM")
	if from == "" {
		from = "HEAD~1"
	}
	tree := filepath.Join(dir, "before")
	if err := os.Mkdir(tree, 0o700); err != nil {
		return "", err
	}
	script := `git -C "$1" archive --format=tar "$2" | tar -x -C "$3"`
	if err := exec.Command("git", "-C", root(), "rev-parse", "--verify", "--quiet", from+"^{commit}").Run(); err != nil {
		if os.Getenv("JOURNEYS_FROM") != "" {
			return "", errors.New("there is no commit " + from)
		}
		return tools.sluice, nil
	}
	if out, err := exec.Command("bash", "-ec", "set -o pipefail; "+script, "bash", root(), from, tree).CombinedOutput(); err != nil {
		return "", fmt.Errorf("taking %s out: %w\n%s", from, err, out)
	}
	old := filepath.Join(dir, "sluice-before")
	return old, build(tree, old)
}

// program finds one that scripts/test installs.
func program(t *testing.T, paths ...string) string {
	t.Helper()
	for _, path := range paths {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Fatalf("%s is not installed; scripts/test does that", paths[0])
	return ""
}

// TestRun10Journeys runs each script.
func TestRun10Journeys(t *testing.T) {
	scripts, err := filepath.Glob("*.sh")
	if err != nil || len(scripts) < 6 {
		t.Fatal(scripts, err)
	}
	nats := program(t, filepath.Join(root(), ".cache", "bin", "nats-server-2.11.0"), "nats-server")
	nginx := program(t, "nginx", "/usr/sbin/nginx")
	program(t, "redis-server")
	program(t, "openssl")
	program(t, "curl")
	for _, name := range scripts {
		if name == "lib.sh" || name == "cluster.sh" {
			continue
		}
		t.Run(strings.TrimSuffix(name, ".sh"), func(t *testing.T) {
			t.Parallel()
			travel(t, name, "NATS_SERVER="+nats, "NGINX_PROGRAM="+nginx)
		})
	}
}

// travel runs one script in a directory of its own. The last line of what it says is why it failed.
func travel(t *testing.T, name string, more ...string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(tools.sluice, filepath.Join(dir, "sluice")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", filepath.Join(root(), "test", "journeys", name))
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// Asked to end, with the command that it waits for, so that it ends what it has started.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 30 * time.Second
	ports := strings.Trim(fmt.Sprint(fault.Ports(t, 14)), "[]")
	cmd.Env = append(append(os.Environ(), "ROOT="+root(), "PORTS="+ports, "OLD_SLUICE="+tools.old), more...)
	out, err := cmd.CombinedOutput()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what did not end when asked
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
