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

	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/test/redisserver"
)

// encryptionKey is that of the apps in the cluster.
const encryptionKey = "a-key-for-the-apps-of-the-cluster-in-tests"

// appCommand runs `sluice app` with a configuration, and returns what it says.
func appCommand(t *testing.T, file, typed string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tools.sluice, append([]string{"app", "--config", file}, args...)...)
	cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	cmd.Stdin = strings.NewReader(typed)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// printed is the value of a line that a command has printed.
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

// TestRun03AppsInTheClusterReachAllGateways goes through the life of an app that no configuration
// has, on two gateways.
func TestRun03AppsInTheClusterReachAllGateways(t *testing.T) {
	t.Parallel()
	for name, yaml := range map[string]func() string{
		"nats":  func() string { return gatewayOn(natsNode(t)) },
		"redis": func() string { return onRedis("redis", redisserver.Start(t).URL()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lifeOfAnApp(t, yaml()+"apps_encryption_key: "+encryptionKey+"\napps: [{id: fixed, key: fixed-key, secret: fixed-secret}]\n")
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
	if err != nil {
		c.t.Fatalf("sluice app %v: %v\n%s", args, err, out)
	}
	return out
}

// refused runs a command that must not succeed, and says so.
func (c *tenancy) refused(says, typed string, args ...string) {
	c.t.Helper()
	if out, err := appCommand(c.t, c.file, typed, args...); err == nil || !strings.Contains(out, says) {
		c.t.Errorf("sluice app %v: %v, want %q in\n%s", args, err, says, out)
	}
}

// answers waits until all gateways answer a publish with a status.
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

// ends waits for the ends of connections.
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

	// A gateway that comes later has the app as well.
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
	// One of that name that comes later is another one.
	out = c.run("add", "shop")
	c.answers("another app of that name is there", keyPair{printed(t, out, "key"), printed(t, out, "secret")}, http.StatusOK)
}

// TestRun03AnAppThatCannotBeReadIsAProblemForItselfAlone changes the encryption key under an app.
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
	// The key before opens it, and once it is sealed anew the new one is enough.
	both := other + "apps_decryption_keys: " + encryptionKey + "\n"
	with(both)
	if out := c.run("reseal"); !strings.Contains(out, "1 of 1") {
		t.Errorf("reseal says %s", out)
	}
	c.gateways = []*hot{h}
	c.answers("the app can be read", first, http.StatusOK)
	eventually(t, "nothing is wrong", func() bool { _, says := h.ready(); return !strings.Contains(says, "cannot be used") })
}

// TestRun03AServerThatIsAloneHasItsAppsInItsFile: nobody else writes into its log.
func TestRun03AServerThatIsAloneHasItsAppsInItsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, yaml := range map[string]string{
		"embedded": config(dir, "apps_encryption_key: "+encryptionKey),
		"local":    config(dir, "apps_encryption_key: "+encryptionKey, "adapter: {driver: local}"),
	} {
		c := &tenancy{t: t, file: filepath.Join(dir, name+".yaml")}
		if err := os.WriteFile(c.file, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		c.refused("put its apps into the configuration file", "", "add", "shop")
	}
}
