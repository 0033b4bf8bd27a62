package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sluicehq/sluice/gateway/client"
)

// TestRun02FilesAreWatched changes files without a SIGHUP: the configuration in place, and a secret behind a
// symbolic link that is replaced. A bad file is named in /ready until it is good.
func TestRun02FilesAreWatched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	secret := func(n int, text string) {
		t.Helper()
		data := filepath.Join(dir, fmt.Sprint("data-", n))
		must(os.Mkdir(data, 0o700))
		must(os.WriteFile(filepath.Join(data, "secret"), []byte(text+"\n"), 0o600))
		must(os.Symlink(data, filepath.Join(dir, "next")))
		must(os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "data")))
	}
	secret(1, "secret-1")
	yaml := strings.Replace(configOfHot(dir), "{watch: false}", "{watch_interval: 1s}", 1) +
		fmt.Sprintf("  - {id: home, key: home-key, secret_file: %q}\n", filepath.Join(dir, "data", "secret"))
	h := &hot{t: t, client: &http.Client{Timeout: patience}}
	defer h.client.CloseIdleConnections()
	h.server = serve(t, dir, yaml)
	takes := func(what, app string, by keyPair) {
		t.Helper()
		eventually(t, what, func() bool {
			status, _, err := postSigned(h.client, h.HTTP, app, by, "c", "x")
			return err == nil && status == http.StatusOK
		})
	}
	takes("the first secret counts", "home", keyPair{"home-key", "secret-1"})
	secret(2, "secret-2")
	takes("the second secret counts", "home", keyPair{"home-key", "secret-2"})

	file := filepath.Join(dir, "sluice.yaml")
	must(os.WriteFile(file, []byte(yaml+"  - {id: other, key: other, secret: other}\nlimits: 1\n"), 0o600))
	eventually(t, "the bad file is named", func() bool {
		status, says := h.ready()
		return status == http.StatusOK && strings.Contains(says, "the configuration was read again and has errors") && strings.Contains(says, "limits")
	})
	if status, _, _ := postSigned(h.client, h.HTTP, "other", keyPair{"other", "other"}, "c", "x"); status != http.StatusUnauthorized {
		t.Errorf("an app of a bad file: %d", status)
	}
	must(os.WriteFile(file, []byte(yaml+"  - {id: other, key: other, secret: other}\n"), 0o600))
	takes("the new app is there", "other", keyPair{"other", "other"})
	eventually(t, "nothing is wrong", func() bool { _, says := h.ready(); return !strings.Contains(says, "has errors") })
}

// TestRun02ARotatedKeyFailsNoPublish rotates the key of an app on two gateways, one after the other, while
// publishers use the keys they have. Messages between gateways that are authenticated with the app's secrets
// are accepted all the time.
func TestRun02ARotatedKeyFailsNoPublish(t *testing.T) {
	t.Parallel()
	yaml := strings.Replace(gatewayOn(natsNode(t)), "port: -1}", "port: 0}", 1)
	with := func(keys string) string {
		return strings.Replace(yaml, "history: {enabled: true}", "history: {enabled: true}\nconfig: {watch: false}\napps:\n  - {id: app-id, enable_client_messages: true, "+keys+"}\n", 1)
	}
	first, second := keyPair{"key-1", "secret-1"}, keyPair{"key-2", "secret-2"}
	before := "key: key-1, secret: secret-1"
	both := `key: key-2, secret: secret-2, previous_keys: [{key: key-1, secret: secret-1, until: "2999-01-01T00:00:00Z"}]`
	gone := `key: key-2, secret: secret-2, previous_keys: [{key: key-1, secret: secret-1, until: "2001-01-01T00:00:00Z"}]`
	var gateways []*hot
	for range 2 {
		h := &hot{t: t, client: &http.Client{Timeout: patience}}
		defer h.client.CloseIdleConnections()
		h.server = serve(t, t.TempDir(), with(before))
		gateways = append(gateways, h)
	}
	reload := func(h *hot, keys string) {
		t.Helper()
		says := "the configuration was read again and is in force"
		n := strings.Count(h.logs.String(), says)
		if err := os.WriteFile(filepath.Join(h.dir, "sluice.yaml"), []byte(with(keys)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := h.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is in force", func() bool { return strings.Count(h.logs.String(), says) > n })
	}
	listeners := []*client.Client{gateways[0].connect(client.Options{Key: "key-1", OnEvent: func(client.Event) {}}), gateways[1].connect(client.Options{Key: "key-1", OnEvent: func(client.Event) {}})}
	for _, w := range listeners {
		if err := w.Subscribe(t.Context(), "c"); err != nil {
			t.Fatal(err)
		}
	}
	publish := func(all []*hot, keys ...keyPair) {
		t.Helper()
		for _, h := range all {
			for _, k := range keys {
				if status, answer, err := postSigned(h.client, h.HTTP, "app-id", k, "c", "x"); status != http.StatusOK {
					t.Errorf("a publish with %s failed: %d %s %v", k.key, status, answer, err)
				}
			}
		}
	}
	publish(gateways, first)
	reload(gateways[0], both)
	publish(gateways, first)
	publish(gateways[:1], second, first)
	reload(gateways[1], both)
	publish(gateways, second, first)
	reload(gateways[0], gone)
	publish(gateways, second)
	reload(gateways[1], gone)
	publish(gateways, second)
	for _, h := range gateways {
		if status, _, _ := postSigned(h.client, h.HTTP, "app-id", first, "c", "x"); status != http.StatusUnauthorized {
			t.Errorf("the old key counts for ever: %d", status)
		}
	}
	for i, w := range listeners {
		if w.Err() != nil {
			t.Errorf("a listener was closed: %v", w.Err())
		}
		if n := gateways[i].metric("sockudo_log_unproven_total"); n != 0 {
			t.Errorf("gateway %d did not believe %v claims", i, n)
		}
	}
}
