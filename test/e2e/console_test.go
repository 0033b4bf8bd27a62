package e2e

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/client"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/test/fault"
)

// These are texts with which an attacker would try to inject script into the page.
const (
	hostileImage  = `<img src=x onerror="window.pwned=1">`
	hostileScript = `</script><script>window.pwned=1</script>`
)

// operated returns the configuration of a production server with the console on its own port.
func operated(dir string, port int) string {
	return strings.Replace(config(dir), "mode: development", "mode: production", 1) + fmt.Sprintf(`
console: {enabled: true, port: %d, token: a-token-of-an-operator}
apps:
  - {id: app-id, key: app-key, secret: app-secret, enable_user_authentication: true}
`, port)
}

// TestRun05TheConsoleInABrowser has an operator log in, inspect a presence channel with hostile events and
// members, close a connection, and lose the server.
func TestRun05TheConsoleInABrowser(t *testing.T) {
	t.Parallel()
	dir, port := t.TempDir(), fault.Ports(t, 1)[0]
	s := serve(t, dir, operated(dir, port))
	const channel = "presence-room"
	c, err := client.Dial(t.Context(), client.Options{URL: "http://" + s.HTTP, Key: "app-key", HandshakeTimeout: patience, Reconnect: true, Auth: func(socket, channel string) (string, string, error) {
		data := fmt.Sprintf(`{"user_id":%q,"user_info":{"name":%q}}`, hostileImage, hostileScript)
		return "app-key:" + pusher.SignChannel("app-secret", socket, channel, data, true), data, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Subscribe(t.Context(), channel); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		other, err := client.Dial(t.Context(), client.Options{URL: "http://" + s.HTTP, Key: "app-key", HandshakeTimeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		for j := range 5 {
			if err := other.Subscribe(t.Context(), fmt.Sprintf("room-%d-%d", i, j)); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ {
			data := fmt.Sprintf(`{"n":%d,"text":%q,"more":%q}`, n, hostileImage, strings.Repeat("whole ", 1000)+"to the end")
			if err := publishSigned(http.DefaultClient, s.HTTP, channel, hostileImage, data); err != nil {
				return
			}
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	browser := script(t, "console.mjs", fmt.Sprintf("http://127.0.0.1:%d/", port), "a-token-of-an-operator", channel, os.Getenv("E2E_SCREENSHOT"))
	var seen struct {
		Step, Cookies, Live, Members, Text, Stale string
		Tiles, Overflow, Drawn, Stored            int
		Pwned, Images, Fields, Wide               int
		Border                                    float64
		Overview, Cluster                         bool
		Opened, Closed                            string
		Retry                                     bool
		Problems                                  []string
	}
	step := func(name string) {
		t.Helper()
		seen.Step = ""
		browser.line(&seen)
		if seen.Step != name {
			t.Fatalf("after %s: %+v", name, seen)
		}
	}
	step("overview")
	if seen.Tiles != 6 || seen.Cookies != "" || seen.Overflow > 0 {
		t.Errorf("the overview: %+v", seen)
	}
	step("channel")
	if seen.Drawn < 10 || seen.Drawn > 60 {
		t.Errorf("%d lines of a thousand channels are drawn", seen.Drawn)
	}
	step("events")
	for what, text := range map[string]string{"live": seen.Live, "members": seen.Members} {
		if !strings.Contains(text, "<img src=x onerror=") {
			t.Errorf("%s does not show what was written: %s", what, text)
		}
	}
	if !strings.Contains(seen.Live, "to the end") || !strings.Contains(seen.Members, "</script><script>") || seen.Stored == 0 {
		t.Errorf("not all is shown: %+v", seen)
	}
	step("hostile")
	if seen.Pwned != 0 || seen.Images != 0 {
		t.Errorf("text became part of the page: %+v", seen)
	}
	step("keeps")
	if !seen.Overview || !seen.Cluster || seen.Opened != "channel" || seen.Closed != "channels-list" {
		t.Errorf("the focus is lost: %+v", seen)
	}
	if !strings.Contains(seen.Text, "cannot be followed: there is no app") || seen.Retry {
		t.Errorf("a channel that cannot be followed: %+v", seen)
	}
	seen.Text = ""
	var worst struct {
		Step         string
		Fields, Wide int
		Border, Text float64
	}
	browser.line(&worst)
	if worst.Step != "contrast" || worst.Fields < 20 || worst.Border < 3 || worst.Text < 4.5 || worst.Wide > 0 {
		t.Errorf("contrast: %+v", worst)
	}
	close(stop)
	<-stopped
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }) // so that the server can end
	_, _ = fmt.Fprintln(browser.in, "stuck")
	step("stuck")
	if !strings.Contains(seen.Text, "nothing has come from it") {
		t.Errorf("a server that is stuck: %+v", seen)
	}
	s.kill()
	_, _ = fmt.Fprintln(browser.in, "gone")
	step("lost")
	if !strings.Contains(seen.Text, "No connection to the server") || strings.Contains(seen.Text, "Trying again") || !seen.Retry || seen.Stale != "true" {
		t.Errorf("a lost server: %+v", seen)
	}
	serve(t, dir, operated(dir, port))
	_, _ = fmt.Fprintln(browser.in, "back")
	step("end")
	if !strings.Contains(seen.Text, "There was no connection from ") || seen.Live != "" {
		t.Errorf("what was not seen, and what is left after logging out: %+v", seen)
	}
	if len(seen.Problems) > 0 {
		t.Errorf("problems: %q", seen.Problems)
	}
}

// TestRun05ThePageWithFortyChannels: forty channels leave room for the rest of the development page, and the
// loss of the server is shown for as long as it lasts.
func TestRun05ThePageWithFortyChannels(t *testing.T) {
	t.Parallel()
	dir, port := t.TempDir(), fault.Ports(t, 1)[0]
	yaml := strings.Replace(config(dir), "port: 0", fmt.Sprintf("port: %d", port), 1)
	s := serve(t, dir, yaml)
	browser := script(t, "many.mjs", fmt.Sprintf("http://127.0.0.1:%d/", port))
	var seen struct {
		Step, Text, Count             string
		Publish, Data, Whole, Console int
	}
	step := func(name string) {
		t.Helper()
		browser.line(&seen)
		if seen.Step != name {
			t.Fatalf("after %s: %+v", name, seen)
		}
	}
	step("many")
	if seen.Publish > 800 || seen.Publish <= 0 || seen.Data < 200 || seen.Count != "(42)" || seen.Console != 4 {
		t.Errorf("forty channels: %+v", seen)
	}
	s.kill()
	_, _ = fmt.Fprintln(browser.in, "gone")
	step("lost")
	if !strings.Contains(seen.Text, "No connection to the server") || seen.Whole < 500 {
		t.Errorf("a lost server: %+v", seen)
	}
	serve(t, dir, yaml)
	_, _ = fmt.Fprintln(browser.in, "back")
	step("back")
}
