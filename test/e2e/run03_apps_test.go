package e2e

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/streams/embedded"
	"github.com/sluicehq/sluice/test/redisserver"
)

// encryptionKey encrypts the apps that are stored in the cluster.
const encryptionKey = "a-key-for-the-apps-of-the-cluster-in-tests"

// appCommand runs `sluice app` with a configuration and typed input, and returns its output.
func appCommand(t *testing.T, file, typed string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tools.sluice, append([]string{"app", "--config", file}, args...)...)
	cmd.Env = append(os.Environ(), gorace)
	cmd.Stdin = strings.NewReader(typed)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// printed returns the value of a line that a command has printed.
func printed(t *testing.T, out, name string) string {
	t.Helper()
	for line := range strings.SplitSeq(out, "\n") {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return value
		}
	}
	t.Fatalf("there is no %s in\n%s", name, out)
	return ""
}

// TestRun03AppsInTheClusterReachAllGateways follows an app that is in no configuration file from its creation
// to its removal, on two gateways.
func TestRun03AppsInTheClusterReachAllGateways(t *testing.T) {
	t.Parallel()
	for name, yaml := range map[string]func() string{
		"nats":  func() string { return gatewayOn(natsNode(t)) },
		"redis": func() string { return onRedis("redis", redisserver.Start(t).URL()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lifeOfAnApp(t, yaml()+"apps_encryption_key: "+encryptionKey+"\napps: [{id: fixed, key: fixed-key, secret: fixed-secret}]\n")
			appsOfNoFile(t, strings.Replace(yaml(), "mode: development", "mode: production\nshutdown: {ready_delay_seconds: 0}", 1)+"apps_encryption_key: "+encryptionKey+"\n")
		})
	}
}

// tenancy is an app on several gateways.
type tenancy struct {
	t        *testing.T
	file     string
	gateways []*hot
}

// run runs a command that must succeed.
func (c *tenancy) run(args ...string) string {
	c.t.Helper()
	out, err := appCommand(c.t, c.file, "", args...)
	// The command waits five seconds for a server on this machine, which may be too short for a busy one.
	for range 20 {
		if err == nil || !strings.Contains(out, "Does the server run, on this machine?") {
			break
		}
		out, err = appCommand(c.t, c.file, "", args...)
	}
	if err != nil {
		c.t.Fatalf("sluice app %v: %v\n%s", args, err, out)
	}
	return out
}

// refused runs a command that must fail with a message that contains says.
func (c *tenancy) refused(says, typed string, args ...string) {
	c.t.Helper()
	if out, err := appCommand(c.t, c.file, typed, args...); err == nil || !strings.Contains(out, says) {
		c.t.Errorf("sluice app %v: %v, want %q in\n%s", args, err, says, out)
	}
}

// answers waits until all gateways answer a publish with this status.
func (c *tenancy) answers(what string, by keyPair, status int) {
	c.t.Helper()
	began := time.Now()
	for _, h := range c.gateways {
		eventually(c.t, what, func() bool {
			got, _, err := postSigned(h.client, h.HTTP, "shop", by, "c", "x")
			return err == nil && got == status
		})
	}
	c.t.Logf("%s after %v", what, time.Since(began))
}

// ends waits until all connections are closed and checks the close code.
func (c *tenancy) ends(all []*client.Client, code pusher.CloseCode) {
	c.t.Helper()
	for _, w := range all {
		<-w.Done()
		var closed *client.CloseError
		if !errors.As(w.Err(), &closed) || closed.Code != int(code) {
			c.t.Errorf("a connection ended with %v, want %d", w.Err(), code)
		}
	}
}

func (c *tenancy) connect(key string) (all []*client.Client) {
	c.t.Helper()
	for _, h := range c.gateways {
		all = append(all, h.connect(client.Options{Key: key}))
	}
	return all
}

func lifeOfAnApp(t *testing.T, yaml string) {
	c := &tenancy{t: t, file: filepath.Join(t.TempDir(), "sluice.yaml")}
	if err := os.WriteFile(c.file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		h := &hot{t: t, client: &http.Client{Timeout: patience}}
		t.Cleanup(h.client.CloseIdleConnections)
		h.server = serve(t, t.TempDir(), yaml)
		c.gateways = append(c.gateways, h)
	}
	fixed := c.connect("fixed-key")
	out := c.run("add", "shop", "--set", "max_event_payload_in_kb=1")
	first := keyPair{printed(t, out, "key"), printed(t, out, "secret")}
	c.answers("the app is there", first, http.StatusOK)
	if status, _, _ := postSigned(c.gateways[0].client, c.gateways[0].HTTP, "shop", first, "c", strings.Repeat("x", 2000)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large event: %d", status)
	}
	c.refused("already", "", "add", "shop")
	c.refused("the configuration has an app with this id", "", "add", "fixed")
	c.refused("key is \"fixed-key\"", "", "add", "other", "--key", "fixed-key")
	c.refused("did you mean", "", "add", "other", "--set", "max_event_payload_in_kbb=1")
	c.refused("there is no such app", "", "rotate", "nobody")
	if out := c.run("list"); !strings.Contains(out, "fixed-key") || !strings.Contains(out, first.key) || strings.Contains(out, first.secret) {
		t.Errorf("list says\n%s", out)
	}
	if out := c.run("show", "shop"); !strings.Contains(out, first.key) || strings.Contains(out, first.secret) {
		t.Errorf("show says\n%s", out)
	}

	sockets := c.connect(first.key)
	c.run("disable", "shop")
	c.answers("the app is disabled", first, http.StatusForbidden)
	c.ends(sockets, pusher.CloseAppDisabled)
	c.run("enable", "shop")
	c.answers("the app is enabled", first, http.StatusOK)

	sockets = c.connect(first.key)
	out = c.run("rotate", "shop")
	second := keyPair{printed(t, out, "key"), printed(t, out, "secret")}
	c.answers("the new key counts", second, http.StatusOK)
	c.answers("the old key counts", first, http.StatusOK)
	c.run("rotate", "shop", "--overlap", "0s")
	c.answers("the second key counts no more", second, http.StatusUnauthorized)
	for _, w := range append(sockets, fixed...) {
		if w.Err() != nil {
			t.Errorf("a connection was closed: %v", w.Err())
		}
	}

	// A gateway that starts later has the app as well.
	late := &hot{t: t, client: &http.Client{Timeout: patience}}
	t.Cleanup(late.client.CloseIdleConnections)
	late.server = serve(t, t.TempDir(), yaml)
	if status, _, _ := postSigned(late.client, late.HTTP, "shop", first, "c", "x"); status != http.StatusOK {
		t.Errorf("a gateway that comes later: %d", status)
	}
	c.gateways = append(c.gateways, late)

	c.refused("nothing was removed", "shopp\n", "remove", "shop")
	c.refused("nothing was removed", "", "remove", "shop", "--yes", "sho")
	out = c.run("remove", "shop", "--yes", "shop")
	if !strings.Contains(out, "What is deleted with it") || !strings.Contains(out, "what the log had of it is deleted") {
		t.Errorf("remove says\n%s", out)
	}
	c.answers("the app is gone", first, http.StatusUnauthorized)
	c.ends(sockets, pusher.CloseNoSuchApp)
	for _, w := range fixed {
		if w.Err() != nil {
			t.Errorf("a connection of another app was closed: %v", w.Err())
		}
	}
	if out := c.run("list"); strings.Contains(out, "shop") {
		t.Errorf("list says\n%s", out)
	}
	// An app added under the same name later is a different app.
	out = c.run("add", "shop")
	c.answers("another app of that name is there", keyPair{printed(t, out, "key"), printed(t, out, "secret")}, http.StatusOK)
}

// appsOfNoFile adds an app to a gateway whose file has none.
func appsOfNoFile(t *testing.T, yaml string) {
	c := &tenancy{t: t, file: filepath.Join(t.TempDir(), "sluice.yaml")}
	if err := os.WriteFile(c.file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	h := &hot{t: t, client: &http.Client{Timeout: patience}}
	t.Cleanup(h.client.CloseIdleConnections)
	h.server = serve(t, t.TempDir(), yaml)
	c.gateways = []*hot{h}
	if status, says := h.ready(); status != http.StatusOK || !strings.Contains(says, "there is no app yet") {
		t.Errorf("before there is an app: %d %s", status, says)
	}
	out := c.run("add", "shop")
	c.answers("the first app is there", keyPair{printed(t, out, "key"), printed(t, out, "secret")}, http.StatusOK)
}

// TestRun03AnAppThatCannotBeReadIsAProblemForItselfAlone changes the encryption key: an app that cannot be
// decrypted fails alone, and the other apps work.
func TestRun03AnAppThatCannotBeReadIsAProblemForItselfAlone(t *testing.T) {
	t.Parallel()
	yaml := gatewayOn(natsNode(t)) + "apps: [{id: fixed, key: fixed-key, secret: fixed-secret}]\n"
	file := filepath.Join(t.TempDir(), "sluice.yaml")
	with := func(keys string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(yaml+keys), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := &tenancy{t: t, file: file}
	with("")
	c.refused("apps_encryption_key is not set", "", "add", "shop")
	with("apps_encryption_key: " + encryptionKey + "\n")
	out := c.run("add", "shop")
	first := keyPair{printed(t, out, "key"), printed(t, out, "secret")}
	other := "apps_encryption_key: another-" + encryptionKey + "\n"
	start := func(keys string) *hot {
		t.Helper()
		h := &hot{t: t, client: &http.Client{Timeout: patience}}
		t.Cleanup(h.client.CloseIdleConnections)
		h.server = serve(t, t.TempDir(), yaml+keys)
		return h
	}
	h := start(other)
	if status, says := h.ready(); status != http.StatusOK || !strings.Contains(says, "the app shop of the cluster cannot be used") {
		t.Errorf("/ready says %d %s", status, says)
	}
	if status, answer, _ := postSigned(h.client, h.HTTP, "fixed", keyPair{"fixed-key", "fixed-secret"}, "c", "x"); status != http.StatusOK {
		t.Errorf("the other app: %d %s", status, answer)
	}
	if status, _, _ := postSigned(h.client, h.HTTP, "shop", first, "c", "x"); status != http.StatusUnauthorized {
		t.Errorf("the app itself: %d", status)
	}
	// The old key decrypts the app, and after a reseal the new key is enough.
	both := other + "apps_decryption_keys: " + encryptionKey + "\n"
	with(both)
	if out := c.run("reseal"); !strings.Contains(out, "1 of 1") {
		t.Errorf("reseal says %s", out)
	}
	c.gateways = []*hot{h}
	c.answers("the app can be read", first, http.StatusOK)
	eventually(t, "nothing is wrong", func() bool { _, says := h.ready(); return !strings.Contains(says, "cannot be used") })
}

// TestRun03ServersThatAreAloneKeepAppsAsWell: a server with an embedded log stores apps, too, whether in
// development mode without a key, or in production mode with a file without apps.
func TestRun03ServersThatAreAloneKeepAppsAsWell(t *testing.T) {
	t.Parallel()
	production := func(dir, more string) string {
		return strings.NewReplacer("mode: development", "mode: production", "history: {enabled: true}", "history: {enabled: true}\nshutdown: {ready_delay_seconds: 0}").
			Replace(config(dir, more))
	}
	for name, c := range map[string]struct {
		yaml  func(dir string) string
		empty bool
	}{
		"development":            {func(dir string) string { return config(dir) }, false},
		"development with a key": {func(dir string) string { return config(dir, "apps_encryption_key: "+encryptionKey) }, false},
		"production":             {func(dir string) string { return production(dir, "apps_encryption_key: "+encryptionKey) }, true},
		"a prefix": {func(dir string) string {
			return production(dir, "apps_encryption_key: "+encryptionKey+"\nnats.prefix: \"staging.\"")
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			yaml := c.yaml(dir)
			file := filepath.Join(dir, "keeper.yaml")
			if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			in := &tenancy{t: t, file: file}
			in.refused("on the directory", "", "add", "shop") // no server runs yet
			h := &hot{t: t, client: &http.Client{Timeout: patience}}
			t.Cleanup(h.client.CloseIdleConnections)
			h.server = serve(t, dir, yaml)
			in.gateways = []*hot{h}
			const none = "there is no app yet"
			if status, says := h.ready(); status != http.StatusOK || strings.Contains(says, none) != c.empty {
				t.Errorf("before there is an app: %d %s", status, says)
			}
			out := in.run("add", "shop", "--set", "max_event_payload_in_kb=1")
			first := keyPair{printed(t, out, "key"), printed(t, out, "secret")}
			in.answers("the app is there", first, http.StatusOK)
			eventually(t, "there is an app", func() bool { _, says := h.ready(); return !strings.Contains(says, none) })
			in.run("disable", "shop")
			in.answers("the app is disabled", first, http.StatusForbidden)
			in.run("enable", "shop")
			for set, says := range map[string]string{
				"history_max_bytes=90000000000": "nats.embedded.max_store", "history_retention_seconds=30": "60 or more", "history_replicas=3": "only a cluster at nats.url",
			} {
				in.refused(says, "", "add", "big", "--set", set)
				in.refused(says, "", "set", "shop", "--set", set)
			}
			second := in.run("rotate", "shop", "--overlap", "0s")
			now := keyPair{printed(t, second, "key"), printed(t, second, "secret")}
			in.answers("the new key counts", now, http.StatusOK)
			if out := in.run("list"); !strings.Contains(out, now.key) || strings.Contains(out, now.secret) {
				t.Errorf("list says\n%s", out)
			}
			// The app outlives the server.
			h.stop()
			in.refused("no server runs on the directory", "", "list")
			h.server = serve(t, dir, yaml)
			in.answers("the app is there again", now, http.StatusOK)
			if logs := h.logs.String(); strings.Contains(logs, "belongs to no app") {
				t.Errorf("the stream of the app was taken for one of nobody:\n%s", tail(logs, 2000))
			}
			in.run("remove", "shop", "--yes", "shop")
			in.answers("the app is gone", now, http.StatusUnauthorized)
		})
	}
}

// TestRun03TheDoorIsForWhoReadsTheDirectory: other clients of the NATS port cannot write apps, and only the
// owner can read the files with the credentials.
func TestRun03TheDoorIsForWhoReadsTheDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, config(dir))
	for _, name := range []string{"sluice.door", "apps.key"} {
		info, err := os.Stat(filepath.Join(dir, "store", name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	door, err := embedded.OpenDoor(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		options []nats.Option
		may     map[string]bool
	}{
		"a guest":     {nil, map[string]bool{"$KV.cluster.app.x": false, "$KV.cluster.seat.x": false, "rt.app-id.0.x": false, "ch.app-id.x": true}},
		"by the door": {door.ConnectOptions(), map[string]bool{"$KV.cluster.app.x": true, "$KV.cluster.seat.x": false, "rt.app-id.0.x": false, "ch.app-id.x": false}},
	} {
		for subject, may := range c.may {
			conn, err := nats.Connect("nats://"+s.NATS, append(c.options, nats.Timeout(patience), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(conn.Publish(subject, nil), conn.Flush()); err != nil {
				t.Error(err)
			}
			// A refusal arrives before the answer to the flush.
			if got := conn.LastError() == nil; got != may {
				t.Errorf("%s may write %s: %v, want %v", name, subject, got, may)
			}
			conn.Close()
		}
	}
	if c, err := nats.Connect("nats://"+s.NATS, nats.UserInfo(door.User, "guess")); err == nil {
		c.Close()
		t.Error("a wrong password opens the door")
	}
}

// TestRun03MemoryHasItsAppsInTheFile: with the log in memory, `sluice app add` is refused, because no command
// can reach the memory of another process.
func TestRun03MemoryHasItsAppsInTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := &tenancy{t: t, file: filepath.Join(dir, "local.yaml")}
	if err := os.WriteFile(c.file, []byte(config(dir, "apps_encryption_key: "+encryptionKey, "adapter: {driver: local}")), 0o600); err != nil {
		t.Fatal(err)
	}
	c.refused("put its apps into the configuration file", "", "add", "shop")
}
