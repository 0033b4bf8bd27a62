package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// TestRun07TypingMistakesAreAnswered: the answer names the command or flag that was probably meant, with the
// exit status of a wrong command line.
func TestRun07TypingMistakesAreAnswered(t *testing.T) {
	for _, c := range []struct {
		want string
		args []string
	}{
		{"Did you mean publish?", []string{"publsh"}},
		{"Did you mean publish?", []string{"pub"}},
		{"Did you mean publish?", []string{"publsh", "lobby", "--event", "x"}},
		{"Did you mean serve?", []string{"SERV"}},
		{"Did you mean version?", []string{"verison", "--json"}},
		{"Did you mean bash?", []string{"completion", "basj"}},
		{"Did you mean history?", []string{"help", "histroy"}},
		{`unknown command "zzz"`, []string{"help", "zzz"}},
		{"Did you mean add?", []string{"app", "ad", "shop"}},
		{`unknown command "zzz" for "sluice app"`, []string{"app", "zzz"}},
		{`unknown command "zzz" for "sluice bench"`, []string{"bench", "zzz"}},
		{"CHANNEL is missing", []string{"users"}},
		{"CHANNEL is missing", []string{"token"}},
		{"CHANNEL is missing", []string{"subject", "app"}},
		{"ID is missing", []string{"app", "add"}},
		{"ID is missing", []string{"app", "disable"}},
		{"FILE is missing", []string{"import"}},
		{`"c" is one argument too many: it is sluice publish CHANNEL [DATA]`, []string{"publish", "a", "b", "c"}},
		{`"b" is one argument too many: it is sluice export CHANNEL > FILE`, []string{"export", "a", "b"}},
		{`"a" is one argument too many: sluice version takes none`, []string{"version", "a"}},
		{`"a" is one argument too many: sluice app list takes none`, []string{"app", "list", "a"}},
		{"Did you mean --event?", []string{"publish", "a", "b", "--evnt", "x"}},
		{"Did you mean --config?", []string{"history", "a", "--confg", "x"}},
		{"Did you mean --config sluice.yaml?", []string{"sluice.yaml"}},
		{"Did you mean --config 'a b.json'?", []string{"serve", "a b.json"}},
		{"Did you mean --config c.toml?", []string{"config", "c.toml", "--check"}},
		{"Did you mean sluice config --check?", []string{"--check"}},
		{"Did you mean sluice config --check?", []string{"serve", "--config", "c.yaml", "--check"}},
		{"Did you mean --port?", []string{"--prot", "1"}},
		{"Did you mean --nats-embedded-port?", []string{"serve", "--nats-embeded-port=1"}},
		{"Did you mean --metrics-port?", []string{"config", "--metric-port", "1"}},
	} {
		status, out, errors := execute(t, "", c.args...)
		if status != exitUsage || !strings.Contains(errors, c.want) || out != "" {
			t.Errorf("%q: status %d, %q, want %q", c.args, status, errors, c.want)
		}
	}
	if _, _, errors := execute(t, "", "xyzzy"); strings.Contains(errors, "Did you mean") {
		t.Errorf("a word that resembles none: %q", errors)
	}
}

func TestRun07TheVersionIsAFlagAsWell(t *testing.T) {
	for _, flag := range []string{"--version", "-v"} {
		if status, out, _ := execute(t, "", flag); status != exitOK || out != "sluice "+versionText()+"\n" {
			t.Errorf("%s: status %d, %q", flag, status, out)
		}
	}
}

// TestRun07HelpFits: the help of every command is no wider than a terminal, and has sections and defaults
// where there are many flags.
func TestRun07HelpFits(t *testing.T) {
	for _, c := range newRoot().Commands() {
		status, out, _ := execute(t, "", c.Name(), "--help")
		if status != exitOK {
			t.Errorf("%s: status %d", c.Name(), status)
		}
		text, examples, _ := strings.Cut(out, "\nExamples:\n")
		_, flags, _ := strings.Cut(examples, "\n\n")
		for line := range strings.Lines(text + flags) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > narrow {
				t.Errorf("%s: %d columns: %s", c.Name(), n, line)
			}
		}
	}
	_, out, _ := execute(t, "", "serve", "--help")
	for _, want := range []string{"\nFlags:\n", "\nGeneral settings:\n", "\nSettings of metrics:\n", "\nSettings of nats:\n", "(default 6001)", "(default nats)", "--metrics-port int", "--allow-sample-secrets  "} {
		if !strings.Contains(out, want) {
			t.Errorf("the help of serve has no %q", want)
		}
	}
	if strings.Count(out, "\nGeneral settings:\n") != 1 {
		t.Error("a section stands there twice")
	}
}

func TestRun07HelpIsAsWideAsTheTerminal(t *testing.T) {
	for columns, want := range map[int]int{60: 60, 100: 100, 500: broad, 5: 40} {
		_, tty := terminal(t)
		defer tty.Close()
		if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(columns), Row: 20}); err != nil {
			t.Fatal(err)
		}
		root := newRoot()
		root.SetOut(shown(tty))
		if got := widthOf(root); got != want {
			t.Errorf("help for %d columns has %d, want %d", columns, got, want)
		}
	}
}

func TestRun07ShellsCompleteWords(t *testing.T) {
	for _, c := range []struct {
		want string
		args []string
	}{
		{"development\nproduction\n", []string{"--mode", ""}},
		{"development\nproduction\n", []string{"serve", "--mode", ""}},
		{"redis-cluster\n", []string{"config", "--adapter-driver", "redis-c"}},
		{"fossil\nxdelta3\n", []string{"subscribe", "--algorithm", ""}},
		{"yaml\njson\n", []string{"config", "--format", ""}},
		{"publish\t", []string{"pub"}},
		{"history\t", []string{"help", "hist"}},
		{":4\n", []string{"subscribe", ""}},
	} {
		status, out, _ := execute(t, "", append([]string{"__complete"}, c.args...)...)
		if status != exitOK || !strings.Contains(out, c.want) {
			t.Errorf("%q: status %d, %q, want %q", c.args, status, out, c.want)
		}
	}
	if _, out, _ := execute(t, "", "--help"); !strings.Contains(out, "completion ") {
		t.Error("completion is not in the help")
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if status, out, _ := execute(t, "", "completion", shell); status != exitOK || !strings.Contains(out, "sluice") {
			t.Errorf("%s: status %d", shell, status)
		}
	}
}

// TestRun07AnAddressNeedsNoScheme: a host and a port mean http.
func TestRun07AnAddressNeedsNoScheme(t *testing.T) {
	r := newRig(t)
	bare := strings.TrimPrefix(r.url, "http://")
	for _, url := range []string{bare, bare + "/", "ws://" + bare, r.url} {
		for _, args := range [][]string{{"publish", "lobby", "x"}, {"history", "lobby"}, {"subscribe", "lobby", "--count", "1"}} {
			c := start(t, nil, append(args, "--url", url)...)
			if args[0] == "subscribe" {
				c.errors.await(t, "subscribed")
				r.succeed("", "publish", "lobby", "x")
			}
			if status := c.wait(); status != exitOK {
				t.Errorf("%v at %s: status %d, %s", args, url, status, c.errors)
			}
		}
	}
	t.Setenv("SLUICE_URL", bare)
	if status, _, errors := execute(t, "", "history", "lobby"); status != exitOK {
		t.Errorf("from the environment: %s", errors)
	}
	if got, want := withScheme("[::1]:6001/p"), "http://[::1]:6001/p"; got != want {
		t.Errorf("got %s", got)
	}
	if out := r.succeed("", "history", "lobby"); !strings.Contains(out, clockOf(historyTime(t, r, "lobby"))) {
		t.Errorf("times without their zone:\n%s", out)
	}
}

// historyTime returns when the newest event of a channel was stored.
func historyTime(t *testing.T, r *rig, channel string) time.Time {
	t.Helper()
	var item struct {
		At int64 `json:"published_at_ms"`
	}
	if err := json.Unmarshal([]byte(r.succeed("", "history", channel, "-n", "1", "--json")), &item); err != nil || item.At == 0 {
		t.Fatalf("no time: %v", err)
	}
	return time.UnixMilli(item.At)
}

// full is an output like a disk without space.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, unix.ENOSPC }

// TestRun07WhatCannotBePrintedIsNoSuccess: a command fails if its output, such as a secret or a token, could
// not be written.
func TestRun07WhatCannotBePrintedIsNoSuccess(t *testing.T) {
	r := newRig(t)
	r.succeed("", "publish", "lobby", "x")
	for _, args := range [][]string{
		{"config"}, {"config", "--check"}, {"version"}, {"version", "--json"}, {"subject", "a", "b"}, {"auth", "private-x", "--socket-id", "1.2"},
		{"token", "a"}, {"init", "-"}, {"completion", "bash"}, {"publish", "--help"}, {"app", "--help"},
		{"history", "lobby", "--url", r.url}, {"export", "lobby", "--url", r.url}, {"replay", "lobby", "--speed", "max", "--url", r.url},
		{"publish", "lobby", "y", "--url", r.url}, {"terminate", "bob", "--url", r.url}, {"health", "--url", r.url},
		{"purge", "lobby", "--yes", "--url", r.url}, {"reset", "lobby", "--yes", "--url", r.url},
	} {
		var said strings.Builder
		if status := run(t.Context(), newRoot(), args, strings.NewReader(""), full{}, &said); status == exitOK {
			t.Errorf("%q ends with success, and says %q", args, said.String())
		}
	}
}
