package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// shownBy are the commands of a page that begin so, whether in a block or by indentation.
func shownBy(t *testing.T, page string, begins ...string) (out []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(), "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		line = strings.TrimPrefix(line, "    ")
		for _, b := range begins {
			if strings.HasPrefix(line, b) {
				out = append(out, line)
			}
		}
	}
	return out
}

// TestRun10CommandsOfThePages runs what the pages show for one who looks for the cause of something.
// Those that go on until they are told to end are told so when they have said what they do.
func TestRun10CommandsOfThePages(t *testing.T) {
	t.Parallel()
	data, dir := t.TempDir(), t.TempDir()
	s := serve(t, data, config(data))
	if err := os.Symlink(tools.sluice, filepath.Join(dir, "sluice")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(tools.nats, filepath.Join(dir, "nats")); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, "sluice.yaml")
	write(t, own, []byte("mode: development\nport: "+s.HTTP[strings.LastIndex(s.HTTP, ":")+1:]+"\n"))
	commands := shownBy(t, "troubleshooting.md", "curl http://127.0.0.1:6001/", "sluice ")
	commands = append(commands, shownBy(t, "laravel.md", "sluice subscribe")...)
	commands = append(commands, shownBy(t, "quickstart.md", "nats req")...)
	if len(commands) < 8 {
		t.Fatalf("only %q were found", commands)
	}
	free := "SLUICE_PORT=0 SLUICE_METRICS_PORT=0 SLUICE_NATS_EMBEDDED_PORT=-1 SLUICE_NATS_EMBEDDED_STORE_DIR=" + filepath.Join(dir, "other") + " "
	for _, c := range commands {
		says := ""
		switch {
		case strings.HasPrefix(c, "sluice doctor"):
			continue // it looks at the machine of a real configuration, and has tests of its own
		case strings.HasPrefix(c, "sluice subscribe"):
			says = "subscribed to"
		case strings.HasPrefix(c, "sluice purge"):
			c = "echo lobby | " + c // it wants the name typed
		case strings.HasPrefix(c, "sluice --log-level"):
			c, says = free+c, "is serving"
		}
		c = strings.NewReplacer("127.0.0.1:6001", s.HTTP, "--config sluice.yaml", "--config "+own).Replace(c)
		c = regexp.MustCompile(`^nats req`).ReplaceAllString(c, "nats --server nats://"+s.NATS+" req")
		if out, err := untilItSays(t, dir, s, c, says); err != nil || strings.HasPrefix(c, "curl") && !strings.Contains(out, `"ready":true`) {
			t.Errorf("%s: %v\n%s", c, err, out)
		}
	}
}

// untilItSays runs a command to its end, or until it says something and then ends when it is told.
func untilItSays(t *testing.T, dir string, s *server, command, says string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", strings.Replace(command, "sluice ", "exec sluice ", 1)) // which gets the signal
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SLUICE_URL=http://"+s.HTTP, "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	var mu sync.Mutex
	var out bytes.Buffer
	told := false
	cmd.Stdout = writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		out.Write(p)
		if says != "" && !told && strings.Contains(out.String(), says) {
			told = true
			_ = cmd.Process.Signal(syscall.SIGINT)
		}
		return len(p), nil
	})
	cmd.Stderr = cmd.Stdout
	err := cmd.Run()
	mu.Lock()
	defer mu.Unlock()
	return out.String(), err
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
