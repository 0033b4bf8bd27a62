package webhook

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicehq/sluice/gateway/app"
)

func TestRedirectsAreNotFollowedWhateverTheClient(t *testing.T) {
	target := listen(t, nil)
	r := listen(t, nil)
	r.Config.Handler = http.RedirectHandler(target.URL, http.StatusTemporaryRedirect)
	a := tenant(app.Webhook{URL: r.URL})
	h := run(t, a, nil, func(o *Options) { o.RetryFor = 30 * time.Millisecond; o.Client = &http.Client{} })
	h.Emit(a, Event{Name: CacheMiss, Channel: "c"})
	eventually(t, "it was given up or followed", func() bool { return total(h.metrics.dropped)+total(h.metrics.sent) == 1 })
	if len(target.names()) > 0 {
		t.Error("the redirect was followed")
	}
}

// TestWH08ManyHangingAddressesOfOneHost: addresses of many apps may share a host, so hanging ones must not
// block a good one.
func TestWH08ManyHangingAddressesOfOneHost(t *testing.T) {
	release := make(chan struct{})
	r := listen(t, func(_ int, text string) int {
		if strings.Contains(text, "hang") {
			<-release
		}
		return http.StatusOK
	})
	var hooks []app.Webhook
	for i := range 3 {
		hooks = append(hooks, app.Webhook{URL: fmt.Sprint(r.URL, "/", i), Prefix: "hang"})
	}
	a := tenant(append(hooks, app.Webhook{URL: r.URL + "/good", Prefix: "good"})...)
	h := run(t, a, nil, nil)
	t.Cleanup(func() { close(release) })
	for i := range 64 {
		h.Emit(a, Event{Name: CacheMiss, Channel: fmt.Sprint("hang", i)})
	}
	eventually(t, "requests hang", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.attempts >= 16 })
	h.Emit(a, Event{Name: CacheMiss, Channel: "good"})
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !slices.Contains(r.names(), "cache_miss good") {
		select {
		case <-deadline:
			t.Fatal("the good address waits for the others of its host")
		case <-tick.C:
		}
	}
}

// TestNothingSecretIsLogged: the query of an address may contain a token.
func TestNothingSecretIsLogged(t *testing.T) {
	a := tenant(app.Webhook{URL: "http://u:hunter2@127.0.0.1:1/hook?token=hunter3", Headers: map[string]app.Secret{"Authorization": "hunter4"}})
	var log bytes.Buffer
	h := run(t, a, nil, func(o *Options) {
		o.RetryFor = 20 * time.Millisecond
		o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	h.Emit(a, Event{Name: CacheMiss, Channel: "c"})
	eventually(t, "it was given up", func() bool { return total(h.metrics.dropped) == 1 })
	h.Close(t.Context())
	if text := log.String(); strings.Contains(text, "hunter") || !strings.Contains(text, "http://127.0.0.1:1/hook") {
		t.Errorf("logged %s", text)
	}
}

// TestTrust10AReceiverChoosesNoLines: the response of a receiver is cut in the log, whatever it is.
func TestTrust10AReceiverChoosesNoLines(t *testing.T) {
	long := strings.Repeat("A", 40<<10)
	for name, answer := range map[string]string{
		"a status":      "HTTP/1.1 500 " + long + "\r\nContent-Length: 0\r\n\r\n",
		"no HTTP":       long + "\r\n\r\n",
		"a long header": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat(long, 40) + "\r\nContent-Length: 0\r\n\r\n",
		"a bad header":  "HTTP/1.1 200 OK\r\n" + long + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := listen(t, nil)
			r.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, _ = conn.Write([]byte(answer))
			})
			a := tenant(app.Webhook{URL: r.URL})
			var log bytes.Buffer
			h := run(t, a, nil, func(o *Options) {
				o.RetryFor = 20 * time.Millisecond
				o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			h.Emit(a, Event{Name: CacheMiss, Channel: "c"})
			eventually(t, "it was given up", func() bool { return total(h.metrics.dropped) == 1 })
			h.Close(t.Context())
			for _, line := range strings.Split(log.String(), "\n") {
				if len(line) > 1024 {
					t.Errorf("a line of %d bytes: %.100s", len(line), line)
				}
			}
		})
	}
}
