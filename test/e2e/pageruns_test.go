//go:build linux

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sluicehq/sluice/test/fault"
)

// notRun lists the commands of the pages that are not run here, by their beginning, with the reason.
var notRun = []struct{ begins, because string }{
	{"docker build ", "it needs a Docker daemon; TestRun06TheImageRuns does the steps of the Dockerfile and runs what they make"},
	{"docker run ", "it needs a Docker daemon; TestRun17DockerCommandsOfThePages has the client read its flags"},
	{"docker compose ", "it needs a Docker daemon; TestRun17DockerCommandsOfThePages looks for what it names, TestWeeks24TheComposeFilesStart starts the services"},
	{"nats -s nats://127.0.0.1:4222 --user admin", "it asks the servers of docker-compose.yml; TestWeeks24TheComposeFilesStart logs in as this user"},
	{"kubectl create secret ", "it needs Kubernetes"},
	{"helm install ", "it needs Kubernetes; scripts/kit has Helm render the chart, and TestRun06TheChartHasAllOfIt reads what comes of it"},
	{"npm install laravel-echo pusher-js", "it takes packages from the network; test/interop has both, pinned, and TestApplicationWithStockLibraries uses them"},
	{"scripts/bench", "it measures for minutes"},
	{"FAULT_SEED=", "it is one seed of test/cluster again, which runs beside this"},
}

// untilThey lists commands that run until they are stopped, with the text that they must print first.
var untilThey = []struct {
	begins *regexp.Regexp
	say    string
}{
	{regexp.MustCompile(`^(\./|bin/)?sluice( --log-level debug)?$`), "Sluice is running"},
	{regexp.MustCompile(`^sluice --config sluice.yaml$`), "sluice is serving"},
	{regexp.MustCompile(`^\./sluice demo$`), "host-metrics"},
	{regexp.MustCompile(`^(\./)?sluice subscribe ((lobby|private-orders.7)( --verbose| --config sluice.yaml)?)$`), "subscribed to"},
	{regexp.MustCompile(`^\./sluice subscribe lobby --rewind 10$`), "hello"},
	{regexp.MustCompile(`^curl -N `), "event: subscribed"},
}

// answers holds a part of the output of some other commands.
var answers = map[string]string{
	"curl -s http://127.0.0.1:6001/ready":           `"ready":true`,
	"curl http://127.0.0.1:6001/ready":              `"ready":true`,
	"./sluice history lobby":                        "hello",
	"./sluice history lobby-again":                  `"price":6`,
	"./sluice subscribe lobby --rewind 2 --count 2": `"price":3`,
	"./sluice subscribe lobby --latest --count 1":   `"price":3`,
	"./sluice replay lobby --from 1 --speed max":    "6 events of lobby replayed",
	"./sluice config --config sluice.yaml --check":  "the configuration is good",
	"./sluice app add 4711 --set enable_client_messages=true --set enable_user_authentication=true": "secret: ",
	"sluice app show shop --config sluice.yaml":                                                     "shop",
	"sluice history lobby": "hello",
}

// inPlaceOf replaces the addresses, paths and sizes of a real installation, which the pages show, by those of
// the test. The order counts.
func (w *world) inPlaceOf() *strings.Replacer {
	return strings.NewReplacer(
		"--listen :6001 --url https://ws.example.com", "--listen "+w.proxied+" --url http://"+w.proxied,
		"--idle 130s", "--idle 1s",
		"--connections 1000 ", "--connections 20 --duration 1s --no-calibrate ", "--connections 5000 ", "--connections 20 --no-calibrate ",
		"--app 4711 --key KEY --secret-file secret", "--app app-id --key app-key --secret app-secret",
		"--config /etc/sluice.yaml --url https://ws.example.com", "--config sluice.yaml --url http://127.0.0.1:"+w.port,
		"https://ws.example.com", "http://"+w.dev.HTTP,
		"127.0.0.1:6001", w.dev.HTTP, "127.0.0.1:9602", w.console,
		"/etc/sluice/console-token", filepath.Join(w.dir, "console-token"), "/etc/sluice.yaml", "sluice.yaml", "--config FILE", "--config sluice.yaml",
		" DIR", fmt.Sprint(" backup-", w.backups),
	)
}

// world is the terminal of a reader of one page: a directory with the program in it, and a development
// server. A command with a configuration file means another server, which has its own ports.
type world struct {
	t   *testing.T
	dir string
	dev *server
	// port is that of the server with the configuration file; proxied and console are addresses.
	port, proxied, console string
	// own is the environment of servers that are started and stopped by a command, kept that of the server
	// that stays.
	own, kept []string
	serves    bool // whether the server with the configuration file runs
	backups   int
}

func newWorld(t *testing.T, page string) *world {
	w := &world{t: t, dir: t.TempDir()}
	ports := fault.Ports(t, 4)
	at := func(i int) string { return fmt.Sprint("127.0.0.1:", ports[i]) }
	w.proxied, w.console, w.port = at(0), at(1), fmt.Sprint(ports[2])
	data := t.TempDir()
	w.dev = serve(t, data, config(data, "publishing: {atomic_batches: never}"))
	for name, path := range map[string]string{"sluice": tools.sluice, "bin/sluice": tools.sluice} {
		_ = os.MkdirAll(filepath.Join(w.dir, filepath.Dir(name)), 0o755)
		if err := os.Symlink(path, filepath.Join(w.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(w.dir, "nats"), fmt.Appendf(nil, "#!/bin/sh\nexec %q --server nats://%s --timeout 2m \"$@\"\n", tools.nats, w.dev.NATS))
	if err := os.Chmod(filepath.Join(w.dir, "nats"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.dir, "console-token"), []byte("a-token-of-an-operator\n"))
	both := []string{"SLUICE_METRICS_PORT=-1", "SLUICE_NATS_EMBEDDED_PORT=-1", "SLUICE_HTTP_PUBLISH_TIMEOUT=2m", "SLUICE_NATS_START_TIMEOUT=2m"}
	w.own = append([]string{"SLUICE_PORT=0"}, both...)
	w.kept = append([]string{"SLUICE_PORT=" + w.port, "SLUICE_NATS_EMBEDDED_STORE_DIR=" + filepath.Join(w.dir, "kept")}, both...)
	if page == "quickstart.md" || page == "README.md" {
		return w // this page makes the file itself
	}
	write(t, filepath.Join(w.dir, "sluice.yaml"), fmt.Appendf(nil, `mode: production
host: 127.0.0.1
history: {enabled: true}
console: {enabled: true, port: %d, token_file: %s}
apps_encryption_key: a-key-for-the-apps-of-the-pages-of-32-bytes
apps: [{id: "4711", key: my-public-key, secret: a-secret-of-32-bytes-or-more-for-the-app}]
`, ports[1], filepath.Join(w.dir, "console-token")))
	return w
}

// environ returns the environment of a command. A command with a configuration file talks to the server of
// that file.
func (w *world) environ(command string) []string {
	env := append(os.Environ(), "PATH="+w.dir+string(os.PathListSeparator)+os.Getenv("PATH"), gorace)
	own := regexp.MustCompile(`^(\./|bin/)?sluice( --log-level debug)?$`).MatchString(command)
	switch {
	case own:
		return append(append(env, w.own...), "SLUICE_NATS_EMBEDDED_STORE_DIR="+filepath.Join(w.t.TempDir(), "own"))
	case strings.Contains(command, "--config"):
		return append(env, w.kept...)
	}
	return append(env, "SLUICE_URL=http://"+w.dev.HTTP, "SLUICE_NATS_EMBEDDED_STORE_DIR="+filepath.Join(w.dev.dir, "store"),
		"GOFLAGS=-o="+filepath.Join(w.dir, "built")) // of `go build`
}

// serveKept starts the server of the configuration file, unless it is running.
func (w *world) serveKept() {
	w.t.Helper()
	if w.serves {
		return
	}
	w.serves = true
	cmd := exec.Command(tools.sluice, "--config", "sluice.yaml")
	cmd.Dir, cmd.Env = w.dir, append(unhurried(""), w.kept...)
	var says bytes.Buffer
	cmd.Stdout, cmd.Stderr = &says, &says
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if w.t.Failed() {
			w.t.Logf("the server of the configuration file: %s", says.String())
		}
	})
	eventually(w.t, "the server of the configuration file is ready", func() bool {
		r, err := http.Get("http://127.0.0.1:" + w.port + "/ready")
		if err != nil {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

// run runs a command as a page shows it.
func (w *world) run(shown string) {
	w.t.Helper()
	if strings.HasPrefix(shown, "nats stream backup") {
		w.backups++ // each in a directory of its own
	}
	command := w.inPlaceOf().Replace(shown)
	input, says := "", ""
	for _, u := range untilThey {
		if u.begins.MatchString(shown) {
			says = u.say
		}
	}
	dir := w.dir
	switch {
	case shown == "./sluice --config sluice.yaml":
		w.serveKept() // the next commands talk to it
		return
	case strings.HasPrefix(shown, "go build "), strings.HasPrefix(shown, "make "):
		dir = root()
	case strings.HasPrefix(shown, "sluice purge"), strings.HasPrefix(shown, "sluice app remove"):
		input = map[bool]string{true: "shop\n", false: "lobby\n"}[strings.Contains(shown, "app remove")] // the command asks for the name to be typed
	case strings.HasPrefix(shown, "nats stream edit CH_"), strings.HasPrefix(shown, "nats stream rm CH_app-id") && !strings.HasSuffix(shown, "-f"):
		command += " -f" // it asks on a terminal
	}
	if strings.Contains(shown, "--config sluice.yaml") && says != "sluice is serving" && !strings.Contains(shown, " config ") || strings.Contains(shown, "9602") {
		w.serveKept()
	}
	out, err := w.shell(dir, command, shown, input, says)
	// doctor reports findings by its exit status, and the machine of a test gives it some.
	var status *exec.ExitError
	if strings.HasPrefix(shown, "sluice doctor") && errors.As(err, &status) && status.ExitCode() < 3 && strings.Contains(out, "error") {
		err = nil
	}
	if says == "" {
		says = answers[shown]
	}
	if err != nil || !strings.Contains(out, says) {
		w.t.Errorf("%s\n(run as %s)\n%v\n%s", shown, command, err, tail(out, 3000))
	}
	w.settle(shown)
}

// settle waits for the effect of a command that changes the log, as a reader would.
func (w *world) settle(shown string) {
	w.t.Helper()
	if !strings.HasPrefix(shown, "nats stream") {
		return
	}
	if strings.Contains(shown, "GATEWAYS") {
		eventually(w.t, "gateways have put back their mark", func() bool {
			out, _ := w.shell(w.dir, "nats stream info GATEWAYS --json", "", "", "")
			return strings.Contains(out, `"epoch"`)
		})
	}
	if strings.HasSuffix(shown, "hold=") || strings.Contains(shown, "epoch=") {
		eventually(w.t, "the server is ready again", func() bool {
			r, err := http.Get("http://" + w.dev.HTTP + "/ready")
			if err != nil {
				return false
			}
			_, _ = io.Copy(io.Discard, r.Body)
			_ = r.Body.Close()
			return r.StatusCode == http.StatusOK
		})
	}
}

// shell runs a command to its end, or stops it once it has printed says.
func (w *world) shell(dir, command, shown, input, says string) (string, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-ec", command)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, w.environ(shown), strings.NewReader(input)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	end := syscall.SIGINT
	if strings.HasPrefix(shown, "curl ") {
		end = syscall.SIGTERM // background processes ignore SIGINT, and curl then does too
	}
	said := &listener{says: says, heard: func() { _ = syscall.Kill(-cmd.Process.Pid, end) }}
	cmd.Stdout, cmd.Stderr = said, said // the same writer, so that one goroutine writes
	err := cmd.Run()
	if said.done {
		err = nil // it was stopped, as by Ctrl-C
	}
	return said.all.String(), err
}

// listener keeps a command's output, and calls heard once when the output contains says.
type listener struct {
	all   bytes.Buffer
	says  string
	heard func()
	done  bool
}

func (l *listener) Write(p []byte) (int, error) {
	l.all.Write(p)
	if !l.done && l.says != "" && bytes.Contains(l.all.Bytes(), []byte(l.says)) {
		l.done = true
		l.heard()
	}
	return len(p), nil
}

var shellBlock = regexp.MustCompile("(?ms)^```(?:sh|console)\n(.*?)^```")

// commandsIn returns the commands of a page in order, without comments and with continuation lines joined.
func commandsIn(t *testing.T, page string) (out []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	comment := regexp.MustCompile(`\s+# .*$`)
	for _, m := range shellBlock.FindAllStringSubmatch(string(text), -1) {
		for line := range strings.SplitSeq(strings.ReplaceAll(m[1], "\\\n", " "), "\n") {
			if line = strings.TrimSpace(comment.ReplaceAllString(line, "")); line != "" {
				out = append(out, line)
			}
		}
	}
	return out
}

func isNotRun(command string) int {
	return slices.IndexFunc(notRun, func(n struct{ begins, because string }) bool { return strings.HasPrefix(command, n.begins) })
}

// TestRun17EveryCommandOfThePages runs the commands of each page in their order, in one directory beside a
// server. The few that are not run are listed with a reason.
func TestRun17EveryCommandOfThePages(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join(root(), "docs", "*.md"))
	if err != nil || len(pages) < 10 {
		t.Fatal(pages, err)
	}
	seen, ran := make([]bool, len(notRun)), 0
	for _, page := range append(pages, filepath.Join(root(), "README.md"), filepath.Join(root(), "CONTRIBUTING.md"), filepath.Join(root(), "SECURITY.md")) {
		var run []string
		for _, c := range commandsIn(t, page) {
			if i := isNotRun(c); i >= 0 {
				seen[i] = true
				continue
			}
			run = append(run, c)
		}
		if ran += len(run); len(run) == 0 {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(page), ".md"), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, filepath.Base(page))
			// Most pages assume a channel with a history.
			traced(t, w.dev, "POST", "/apps/app-id/events", `{"name":"greeting","channel":"lobby","data":"{\"hello\":\"before\"}"}`, "")
			for _, c := range run {
				w.run(c)
			}
		})
	}
	for i, n := range notRun {
		if !seen[i] {
			t.Errorf("no page shows %q any more", n.begins)
		}
	}
	if ran < 60 {
		t.Errorf("only %d commands are run", ran)
	}
}
