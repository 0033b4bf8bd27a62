package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"

	"github.com/sluicehq/sluice/configs"
)

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// configOf writes a configuration of the rig's server with an app beside its own.
func (r *rig) configOf(t *testing.T, more string) string {
	t.Helper()
	u, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "c.yaml", fmt.Sprintf("mode: production\nhost: 127.0.0.1\nport: %s\nnats: {url: '%s'}\napps:\n  - {id: other, key: other-key, secret: other-secret}\n  - {id: app-id, key: app-key, %s}\n",
		u.Port(), r.nats, more))
}

// TestWeeks23ClientCommandsReadWhatIsConfigured runs each client command with address, app, key and secret
// from every source except the command line.
func TestWeeks23ClientCommandsReadWhatIsConfigured(t *testing.T) {
	r := newRig(t)
	secret := writeFile(t, "secret", "app-secret\n")
	t.Setenv("SECRET_OF_APP", "app-secret")
	full := r.configOf(t, "secret: '${SECRET_OF_APP}'")
	ways := map[string]struct {
		environ map[string]string
		args    []string
	}{
		"the configuration":                  {nil, []string{"--config", full, "--app", "app-id"}},
		"a file of the configuration":        {nil, []string{"--config", r.configOf(t, "secret_file: "+secret), "--app", "app-id"}},
		"the app by its key":                 {map[string]string{"SLUICE_KEY": "app-key"}, []string{"--config", full}},
		"the environment":                    {map[string]string{"SLUICE_URL": r.url, "SLUICE_APP": "app-id", "SLUICE_KEY": "app-key", "SLUICE_SECRET": "app-secret"}, nil},
		"a file named in the environment":    {map[string]string{"SLUICE_URL": r.url, "SLUICE_SECRET_FILE": secret, "SLUICE_SECRET": ""}, nil},
		"a file named on the command line":   {map[string]string{"SLUICE_SECRET": "wrong"}, []string{"--url", r.url, "--secret-file", secret}},
		"the server's variables":             {map[string]string{"SLUICE_PORT": strings.TrimPrefix(r.url, "http://127.0.0.1:"), "SLUICE_APPS": `[{"id":"app-id","key":"app-key","secret":"app-secret"}]`}, nil},
		"the command line wins over the env": {map[string]string{"SLUICE_URL": "http://127.0.0.1:1", "SLUICE_KEY": "wrong", "SLUICE_SECRET": "wrong"}, []string{"--url", r.url, "--key", "app-key", "--secret", "app-secret"}},
	}
	for name, w := range ways {
		t.Run(name, func(t *testing.T) {
			for variable, v := range w.environ {
				t.Setenv(variable, v)
			}
			do := func(args ...string) string {
				t.Helper()
				status, out, errors := execute(t, "", append(args, w.args...)...)
				if status != exitOK {
					t.Fatalf("%v: status %d\n%s", args, status, errors)
				}
				return out
			}
			watcher := start(t, nil, append([]string{"subscribe", "private-room", "-n", "1"}, w.args...)...)
			watcher.errors.await(t, "subscribed")
			do("publish", "private-room", name)
			if status := watcher.wait(); status != exitOK || !strings.Contains(watcher.out.String(), name) {
				t.Errorf("subscribe: status %d, %s", status, watcher.out)
			}
			if out := do("history", "private-room", "-n", "1"); !strings.Contains(out, name) {
				t.Errorf("history: %s", out)
			}
			do("demo", "--interval", "50ms", "-n", "1")
		})
	}
	out := r.succeed("", "publish", "lobby", "raw", "--config", full, "--app", "app-id", "--nats", "config")
	if !strings.Contains(out, "as 1") && !strings.Contains(out, "of stream CH_app-id") {
		t.Errorf("publish --nats config said %q", out)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"choose one with --app: other, app-id", []string{"history", "a", "--config", full}},
		{`app "nobody" is not in the configuration`, []string{"history", "a", "--config", full, "--app", "nobody"}},
		{"exclude each other", []string{"history", "a", "--secret", "a", "--secret-file", secret}},
		{"cannot be read", []string{"history", "a", "--secret-file", secret + "x"}},
		{"no such file", []string{"subject", "a", "b", "--config", "none.yaml"}},
		{"no such file", []string{"demo", "--config", "none.yaml"}},
		{"has no effect here", []string{"version", "--config", full}},
	} {
		if status, _, errors := execute(t, "", c.args...); status == exitOK || !strings.Contains(errors, c.want) {
			t.Errorf("%v: status %d, %q, want %q", c.args, status, errors, c.want)
		}
	}
	for host, want := range map[string]string{"0.0.0.0": "http://127.0.0.1:1/p", "'::'": "http://127.0.0.1:1/p", "'[::1]'": "http://[::1]:1/p", "a.example": "http://a.example:1/p"} {
		c, err := configs.Load(configs.Sources{File: writeFile(t, "c.yaml", "host: "+host+"\nport: 1\npath_prefix: /p\napps: [{id: a, key: k, secret: s}]\n")})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := addressOf(c); err != nil || got != want {
			t.Errorf("%s is at %s, %v, want %s", host, got, err, want)
		}
	}
	prefixed := writeFile(t, "c.yaml", "mode: development\nnats: {url: 'nats://a', prefix: staging.}\n")
	if _, out, _ := execute(t, "", "subject", "a", "b", "--config", prefixed); out != "staging.ch.a.b\n" {
		t.Errorf("subject said %q", out)
	}
}

// TestWeeks22WhatCannotBeDeliveredIsNotStored publishes data and names that would be changed on the way, or
// could never be delivered.
func TestWeeks22WhatCannotBeDeliveredIsNotStored(t *testing.T) {
	r := newRig(t)
	bytes := writeFile(t, "bytes", "a\xff\xfeb")
	lines := writeFile(t, "lines", "good\n\nb\xc3\n")
	for _, raw := range []bool{false, true} {
		for _, c := range []struct {
			name, want, stdin string
			args              []string
		}{
			{"a file", "the data is not UTF-8", "", []string{"room", "-f", bytes}},
			{"standard input", "the data is not UTF-8", "\xed\xa0\x80", []string{"room"}},
			{"an argument", "the data is not UTF-8", "", []string{"room", "\xff"}},
			{"a line", "line 3: the data is not UTF-8", "", []string{"lines", "-f", lines, "--lines"}},
			{"an event name", "the event name is not UTF-8", "", []string{"room", "x", "-e", "\xff"}},
			{"a tag", "--tag is not UTF-8", "", []string{"room", "x", "--tag", "a=\xff"}},
			{"a channel that is no text", "the channel name is not UTF-8", "", []string{"ro\xffom", "x"}},
			{"a name that is no channel", "channel name", "", []string{"my channel", "x"}},
			{"another one", "channel name", "", []string{"café", "x"}},
			{"one of two", "channel name", "", []string{"room", "x", "--to", "a/b"}},
			{"a reserved event", "reserved", "", []string{"room", "x", "-e", "pusher:x"}},
			{"a long event name", "200", "", []string{"room", "x", "-e", strings.Repeat("e", 201)}},
		} {
			args := append([]string{"publish"}, c.args...)
			if raw {
				args = append(args, "--nats", r.nats)
			}
			status, out, errors := execute(t, c.stdin, append(args, "--url", r.url)...)
			if status == exitOK || !raw && c.want != "channel name" && c.want != "reserved" && c.want != "200" && !strings.Contains(errors, c.want) || raw && !strings.Contains(errors, c.want) {
				t.Errorf("%s, raw %v: status %d, %q, want %q", c.name, raw, status, errors, c.want)
			}
			if c.name != "a line" && out != "" {
				t.Errorf("%s, raw %v: said %q", c.name, raw, out)
			}
		}
	}
	if out := r.succeed("", "history", "room", "--limit", "0"); out != "" {
		t.Errorf("something was stored:\n%s", out)
	}
}

// terminal returns the two ends of a pseudo-terminal: what is written to tty can be read from seen as a
// person would see it.
func terminal(t *testing.T) (seen, tty *os.File) {
	t.Helper()
	seen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = seen.Close() })
	if err := unix.IoctlSetPointerInt(int(seen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(seen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return seen, tty
}

// TestWeeks23ATerminalIsNotObeyed prints events with control sequences to a terminal and to a pipe.
func TestWeeks23ATerminalIsNotObeyed(t *testing.T) {
	r := newRig(t)
	const evil = "a\x1b[31mb\x1b]0;title\x07c\x7fd\u009b2Je\u202ef\u2066g\x00h\rü 👩‍👩‍👧"
	r.succeed("", "publish", "room", evil, "--event", "n\x1b[2J", "--nats", r.nats)
	for _, args := range [][]string{
		{"history", "room", "--full"}, {"history", "room"}, {"history", "room", "--json"}, {"history", "no\x1b[2Jroom"},
		{"subscribe", "room2", "-n", "1", "--full", "-v"}, {"subscribe", "room2", "-n", "1", "--json"}, {"subscribe", "room2", "-n", "1"},
	} {
		seen, tty := terminal(t)
		text := make(chan string)
		go func() {
			all, _ := io.ReadAll(seen) // ends with an error when the other end is closed
			text <- string(all)
		}()
		ended := make(chan int)
		errors := newOutput()
		go func() {
			ended <- run(t.Context(), newRoot(), append(args, "--url", r.url), strings.NewReader(""), tty, io.MultiWriter(tty, errors))
		}()
		if args[0] == "subscribe" {
			errors.await(t, "subscribed")
			r.succeed("", "publish", "room2", evil, "--event", "n\x1b[2J", "--nats", r.nats)
		}
		<-ended
		_ = tty.Close()
		got := strings.ReplaceAll(<-text, "\r\n", "\n")
		for _, c := range "\x1b\x07\x7f\u009b\u202e\u2066\x00\r" {
			if strings.ContainsRune(got, c) {
				t.Errorf("%q put %q on the terminal: %q", args, c, got)
			}
		}
		if args[1] != "no\x1b[2Jroom" && !strings.Contains(got, "ü 👩‍👩‍👧") {
			t.Errorf("%q lost a text: %q", args, got)
		}
	}
	if out := r.succeed("", "history", "room", "--full"); !strings.Contains(out, evil+"\n") {
		t.Errorf("a pipe got other bytes: %q", out)
	}
}

func TestWeeks24SecretsOfTheSamplesDoNotStart(t *testing.T) {
	file := writeFile(t, "c.yaml", "host: 0.0.0.0\nport: 0\napps: [{id: a, key: k, secret: change-this-secret}]\n")
	for _, command := range []string{"serve", "config"} {
		status, _, errors := execute(t, "", command, "--config", file)
		if status != exitFailure || !strings.Contains(errors, "apps[0].secret is the published secret of a sample") {
			t.Errorf("%s: status %d, %q", command, status, errors)
		}
	}
	file = writeFile(t, "c.yaml", "host: 127.0.0.1\nport: 0\nadapter: {driver: local}\nmetrics: {port: -1}\nshutdown: {ready_delay_seconds: 0}\napps: [{id: a, key: k, secret: change-this-secret}]\n")
	t.Setenv("SLUICE_SERVICE_HOST", "10.0.0.1")
	t.Setenv("SLUICE_PORT", "tcp://10.0.0.1:6001")
	c := start(t, nil, "serve", "--config", file)
	c.errors.await(t, "sluice is serving")
	c.interrupt()
	if status := c.wait(); status != exitOK || !strings.Contains(c.errors.String(), "published with the samples") || !strings.Contains(c.errors.String(), "SLUICE_PORT SLUICE_SERVICE_HOST") {
		t.Errorf("status %d\n%s", status, c.errors)
	}
}

func TestWeeks09AnyFreePortOfTheEmbeddedServer(t *testing.T) {
	for range 2 {
		c := start(t, nil, "--port", "0", "--metrics-port", "-1", "--nats-embedded-port", "0", "--nats-embedded-store-dir", t.TempDir())
		c.errors.await(t, "sluice is serving")
		if regexp.MustCompile(`:4222\b`).MatchString(c.errors.String()) {
			t.Errorf("port 0 is the default port:\n%s", c.errors)
		}
		c.interrupt()
		if status := c.wait(); status != exitOK {
			t.Errorf("status %d\n%s", status, c.errors)
		}
	}
}

// TestWeeks11HistoryTellsWhyAnEventIsSkipped: an event of a raw publisher that cannot be delivered is listed
// with the reason.
func TestWeeks11HistoryTellsWhyAnEventIsSkipped(t *testing.T) {
	r := newRig(t)
	for _, m := range []*nats.Msg{
		{Subject: "ch.app-id.c", Data: []byte("\xff\xfe")},
		{Subject: "ch.app-id.c", Data: []byte("x"), Header: nats.Header{"Event": []string{"pusher:error"}}},
	} {
		if _, err := jetStreamAt(t, r.nats).PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"history", "c"}, {"history", "c", "--json"}, {"history", "c", "--full"}} {
		out := r.succeed("", append(args, "--app", "app-id", "--key", "app-key", "--secret", "app-secret")...)
		if !strings.Contains(out, "data is not UTF-8") || !strings.Contains(out, "event names that start with pusher: are reserved") {
			t.Errorf("%v prints\n%s", args, out)
		}
	}
}

// TestWeeks23PublishWithAFileThatHoldsNoCertificate: it was ignored, and only the handshake said that the authority
// is unknown.
func TestWeeks23PublishWithAFileThatHoldsNoCertificate(t *testing.T) {
	file := writeFile(t, "c.yaml", "adapter: {driver: nats}\nnats: {url: 'nats://127.0.0.1:1', tls: {ca_file: "+
		writeFile(t, "ca.pem", "nothing")+"}}\napps: [{id: a, key: k, secret: s}]\n")
	status, _, errors := execute(t, "", "publish", "c", "x", "--config", file, "--nats", "config")
	if status != exitFailure || !strings.Contains(errors, "nats.tls.ca_file") || !strings.Contains(errors, "holds no certificate") {
		t.Errorf("status %d, %s", status, errors)
	}
}
