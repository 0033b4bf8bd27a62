package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// TestRun07HealthAsksWhetherAServerIsReady: health finds the server however it is specified, and says why one
// is not ready.
func TestRun07HealthAsksWhetherAServerIsReady(t *testing.T) {
	r := newRig(t)
	file := r.configOf(t, "secret: app-secret")
	for name, args := range map[string][]string{
		"an address":        {"--url", r.url},
		"a host and a port": {"--url", strings.TrimPrefix(r.url, "http://")},
		"a socket":          {"--url", strings.Replace(r.url, "http", "ws", 1) + "/"},
		"the configuration": {"--config", file},
		"only the process":  {"--url", r.url, "--live"},
	} {
		status, out, errors := execute(t, "", append([]string{"health"}, args...)...)
		want := "ready"
		if strings.Contains(name, "process") {
			want = "alive"
		}
		if status != exitOK || !strings.HasPrefix(out, want) {
			t.Errorf("%s: status %d, %q %q", name, status, out, errors)
		}
	}
	if status, out, _ := execute(t, "", "health", "--url", r.url, "--quiet"); status != exitOK || out != "" {
		t.Errorf("--quiet: %d %q", status, out)
	}
	t.Setenv("SLUICE_URL", r.url)
	if status, _, errors := execute(t, "", "health"); status != exitOK {
		t.Errorf("the environment: %q", errors)
	}
}

func TestRun07HealthTellsWhyAServerIsNotReady(t *testing.T) {
	release := make(chan struct{})
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for _, c := range []struct {
		want    string
		handler http.HandlerFunc
		args    []string
	}{
		{"not ready: the log cannot be reached\n  no leader", answer(503, `{"ready":false,"problems":["the log cannot be reached","no leader"]}`), nil},
		{"it was asked to stop", answer(503, `{"ready":false,"draining":true,"problems":[]}`), nil},
		{"it does not say why", answer(503, `{"ready":false}`), nil},
		{"Is it Sluice that listens", answer(404, "not here"), nil},
		{"no answer of /ready", answer(200, "<html>"), nil},
		{"no answer of /ready", answer(200, "null"), nil},
		{"no answer of /health", answer(502, "bad gateway"), []string{"--live"}},
		{"has not answered within 20ms", func(http.ResponseWriter, *http.Request) { <-release }, []string{"--timeout", "20ms"}},
	} {
		s := httptest.NewServer(c.handler)
		status, out, errors := execute(t, "", append([]string{"health", "--url", s.URL}, c.args...)...)
		if status != exitFailure || !strings.Contains(errors, c.want) || out != "" {
			t.Errorf("status %d, %q, want %q", status, errors, c.want)
		}
		if c.args != nil && c.args[0] == "--timeout" {
			close(release)
		}
		s.Close()
		if status, _, errors := execute(t, "", "health", "--url", s.URL); status != exitFailure || !strings.Contains(errors, "Is `sluice serve` running?") {
			t.Errorf("nobody there: status %d, %q", status, errors)
		}
	}
	for _, args := range [][]string{{"--url", "ftp://a"}, {"--timeout", "0s"}, {"a"}} {
		if status, _, _ := execute(t, "", append([]string{"health"}, args...)...); status != exitUsage {
			t.Errorf("%q: status %d", args, status)
		}
	}
}

// join subscribes a user to a presence channel until the test ends.
func (r *rig) join(user, channel string) {
	r.t.Helper()
	data := `{"user_id":"` + user + `"}`
	c, err := client.Dial(r.t.Context(), client.Options{URL: r.url, Key: "app-key", Auth: func(socket, channel string) (string, string, error) {
		return "app-key:" + pusher.SignChannel("app-secret", socket, channel, data, true), data, nil
	}, OnEvent: func(client.Event) {}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	if err := c.Subscribe(r.t.Context(), channel); err != nil {
		r.t.Fatal(err)
	}
}

// TestRun07WhoIsWhere prints channels and users, and ends the connections of a user.
func TestRun07WhoIsWhere(t *testing.T) {
	r := newRig(t)
	if _, _, said := execute(t, "", "channels", "--url", r.url); !strings.Contains(said, "0 channels with subscribers") {
		t.Errorf("without channels: %s", said)
	}
	if out := r.succeed("", "channels"); out != "" {
		t.Errorf("channels of nobody: %q", out)
	}
	r.join("ada", "presence-room")
	r.join("ada", "presence-room")
	r.join("bob", "presence-room")
	c := start(t, nil, "subscribe", "lobby", "--url", r.url)
	c.errors.await(t, "subscribed")
	const all = "SUBSCRIPTIONS     USERS  CHANNEL\n            1         -  lobby\n            3         2  presence-room\n"
	// The numbers are those of the table, which lags a moment.
	for end := time.Now().Add(patience); r.succeed("", "channels") != all && time.Now().Before(end); {
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{all, []string{"channels"}},
		{`{"channel":"presence-room","subscriptions":3,"users":2}` + "\n", []string{"channels", "--json", "--prefix", "presence-r"}},
		{`{"channel":"presence-room","subscriptions":3,"users":2}` + "\n", []string{"channels", "--json", "--prefix", "pre"}},
		{`{"channel":"lobby","subscriptions":1}` + "\n", []string{"channels", "--json", "--prefix", "lob"}},
		{"", []string{"channels", "--prefix", "private-"}},
		{"ada\nbob\n", []string{"users", "presence-room"}},
		{`{"id":"ada"}` + "\n" + `{"id":"bob"}` + "\n", []string{"users", "presence-room", "--json"}},
		{"", []string{"users", "presence-empty"}},
		{"all gateways were told to close the connections of ada/7\n", []string{"terminate", "ada/7"}},
	} {
		if out := r.succeed("", c.args...); out != c.want {
			t.Errorf("%q:\n%swant\n%s", c.args, out, c.want)
		}
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"users are those of presence channels", []string{"users", "lobby"}},
		{"Check --app, --key and --secret", []string{"channels", "--secret", "wrong"}},
		{"128", []string{"terminate", strings.Repeat("x", 129)}},
	} {
		if status, _, errors := execute(t, "", append(c.args, "--url", r.url)...); status != exitFailure || !strings.Contains(errors, c.want) {
			t.Errorf("%q: status %d, %q, want %q", c.args, status, errors, c.want)
		}
	}
}

// TestRun07AuthSigns: auth makes signatures that servers accept, and refuses others.
func TestRun07AuthSigns(t *testing.T) {
	key := []string{"--key", "k", "--secret", "s", "--socket-id", "12.34"}
	sign := func(args ...string) (out authorization) {
		t.Helper()
		status, text, errors := execute(t, "", append(append([]string{"auth"}, args...), key...)...)
		if err := json.Unmarshal([]byte(text), &out); status != exitOK || err != nil {
			t.Fatalf("%q: status %d, %q %s", args, status, text, errors)
		}
		return out
	}
	for _, args := range [][]string{
		{"private-room"}, {"private-encrypted-room"}, {"private-cache-room"},
		{"presence-room", "--user-id", "7", "--user-info", `{"name":"<Ada>"}`}, {"presence-room", "--channel-data", `{"user_id":7}`},
	} {
		got := sign(args...)
		s := pusher.Subscribe{Auth: got.Auth, Channel: args[0]}
		if got.ChannelData != nil {
			s.ChannelData, s.HasChannelData = *got.ChannelData, true
		}
		if err := pusher.VerifySubscription("k", "s", "12.34", &s); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
	if got := sign("--user-data", `{"id":"7"}`); got.UserData == nil || pusher.VerifyUser("k", "s", got.Auth, "12.34", *got.UserData) != nil {
		t.Errorf("a sign-in: %+v", got)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"--socket-id is empty", []string{"private-a", "--socket-id", ""}},
		{"two numbers", []string{"private-a", "--socket-id", "1"}},
		{"either a channel or", []string{}},
		{"either a channel or", []string{"private-a", "--user-data", `{"id":"7"}`}},
		{"public channel", []string{"lobby"}},
		{"signing in", []string{"#server-to-user-7"}},
		{"presence channels need", []string{"presence-a"}},
		{"for presence channels", []string{"private-a", "--user-id", "7"}},
		{"takes the place", []string{"presence-a", "--user-id", "7", "--channel-data", "{}"}},
		{"no JSON", []string{"presence-a", "--user-id", "7", "--user-info", "{"}},
		{"user_id", []string{"presence-a", "--channel-data", "{}"}},
		{"id", []string{"--user-data", "{}"}},
		{"channel name", []string{"private-ü"}},
	} {
		status, out, errors := execute(t, "", append(append([]string{"auth"}, key...), c.args...)...)
		if status != exitUsage || !strings.Contains(errors, c.want) || out != "" {
			t.Errorf("%q: status %d, %q, want %q", c.args, status, errors, c.want)
		}
	}
}

// TestRun07InitWritesAConfiguration: the file is valid as it is and with every offered setting enabled, only
// its owner can read it, and it replaces no file.
func TestRun07InitWritesAConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "it's.yaml")
	status, out, errors := execute(t, "", "init", path)
	if status != exitOK || !strings.Contains(out, `sluice --config '`) {
		t.Fatalf("status %d, %q %s", status, out, errors)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	c, err := configs.Load(configs.Sources{File: path})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Apps) != 1 || len(c.Apps[0].Secret.Reveal()) < 26 || len(c.Apps[0].Key) < 20 || c.Apps[0].Key == c.Apps[0].Secret.Reveal() || strings.Contains(out, c.Apps[0].Secret.Reveal()) {
		t.Errorf("the app: %+v", c.Apps)
	}
	all := filepath.Join(t.TempDir(), "all.yaml")
	offered := string(regexp.MustCompile(`(?m)^( *)#(  )?([a-z"-])|^( *)#(  +)([a-z"-])`).ReplaceAll(text, []byte("$1$2$3$4$5$6")))
	// Files that are named must exist.
	pair := newPKI(t)
	offered = strings.NewReplacer("/etc/sluice/tls.crt", pair.serverCert, "/etc/sluice/tls.key", pair.serverKey).Replace(offered)
	if err := os.WriteFile(all, []byte(offered), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{path, all} {
		if status, out, errors := execute(t, "", "config", "--check", "--config", file); status != exitOK || !strings.Contains(out, "good") {
			content, _ := os.ReadFile(file)
			t.Errorf("status %d, %s\n%s", status, errors, content)
		}
	}
	if status, _, errors := execute(t, "", "init", path); status != exitFailure || !strings.Contains(errors, "--force") {
		t.Errorf("again: status %d, %q", status, errors)
	}
	if again, _ := os.ReadFile(path); string(again) != string(text) {
		t.Error("the file was replaced")
	}
	if status, _, errors := execute(t, "", "init", path, "--force"); status != exitOK {
		t.Errorf("by force: %q", errors)
	}
	if again, _ := os.ReadFile(path); string(again) == string(text) {
		t.Error("the secrets are the same")
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("files are left behind: %v", entries)
	}
	if status, out, _ := execute(t, "", "init", "-"); status != exitOK || !strings.Contains(out, "secret: ") {
		t.Errorf("to standard output: %q", out)
	}
	for _, args := range [][]string{{"a.json"}, {"a.yaml", "b.yaml"}, {"a.yaml", "--config", "b"}} {
		if status, _, _ := execute(t, "", append([]string{"init"}, args...)...); status != exitUsage {
			t.Errorf("%q: status %d", args, status)
		}
	}
	if status, _, errors := execute(t, "", "init", filepath.Join(path, "b.yaml")); status != exitFailure || !strings.Contains(errors, "b.yaml cannot be written") {
		t.Errorf("below a file: status %d", status)
	}
}
