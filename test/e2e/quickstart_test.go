package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// TestRun10ScriptsOfThePages has Node parse all JavaScript in the pages. Scripts that subscribe by themselves
// are run with pusher-js against a server, and must print what is published.
func TestRun10ScriptsOfThePages(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join(root(), "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := serve(t, dir, config(dir))
	host, port, _ := strings.Cut(s.HTTP, ":")
	ran, read := 0, 0
	for _, page := range append(pages, filepath.Join(root(), "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?ms)^```js\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
			read++
			file := filepath.Join(dir, fmt.Sprint(read, ".mjs"))
			write(t, file, []byte(m[1]))
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if out, err := exec.CommandContext(ctx, "node", "--check", file).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", page, err, out)
			}
			cancel()
			event := regexp.MustCompile(`\.bind\('([a-z]+)'`).FindStringSubmatch(m[1])
			if event == nil || !strings.Contains(m[1], "new Pusher(") {
				continue
			}
			ran++
			script := "const Pusher = require('pusher-js');\n" + strings.NewReplacer("127.0.0.1", host, "6001", port).Replace(m[1])
			if said := printsWhatComes(t, s, script, event[1]); !strings.Contains(said, "from the page") {
				t.Errorf("%s: %s\nprinted %q", page, script, said)
			}
		}
	}
	if ran < 2 || read < 4 {
		t.Errorf("only %d scripts were run, and %d read", ran, read)
	}
}

// printsWhatComes runs a script that subscribes to lobby, publishes until the script prints a line, and
// returns that line.
func printsWhatComes(t *testing.T, s *server, script, event string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "-e", script)
	cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(root(), "test", "interop", "node_modules"))
	var said transcript
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			said.add(lines.Text())
		}
	})
	eventually(t, "the script prints what is published", func() bool {
		traced(t, s, "POST", "/apps/app-id/events", fmt.Sprintf(`{"name":%q,"channel":"lobby","data":"{\"text\":\"from the page\"}"}`, event), "")
		return said.String() != ""
	})
	_ = cmd.Process.Kill()
	reading.Wait()
	_ = cmd.Wait()
	return said.String()
}
