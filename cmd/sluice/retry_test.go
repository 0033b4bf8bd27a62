package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/streams"
)

// retryRig reads a configuration again for a log that refuses the retention of some apps.
type retryRig struct {
	*reading
	t        *testing.T
	refuses  map[string]bool
	attempts atomic.Int64
	written  strings.Builder
}

func newRetryRig(t *testing.T, text string) *retryRig {
	r := &retryRig{t: t, refuses: map[string]bool{}}
	file := filepath.Join(t.TempDir(), "c.yaml")
	load := func() (*configs.Config, error) { return configs.Load(configs.Sources{File: file}) }
	b := &backend{retain: func(_ context.Context, c *configs.Config) error {
		r.attempts.Add(1)
		failed := streams.NotRetained{}
		for i := range c.Apps {
			if id := c.Apps[i].ID; r.refuses[id] {
				failed[id] = errors.New("no room")
			}
		}
		if len(failed) > 0 {
			return failed
		}
		return nil
	}}
	r.reading = &reading{file: file, load: load}
	r.write(text)
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	r.reloader = &reloader{backend: b, apps: app.NewRegistry(appsOf(c)...), log: slog.New(slog.NewTextHandler(&r.written, nil)), inForce: c, wanted: c}
	return r
}

func (r *retryRig) write(text string) {
	r.t.Helper()
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// TestRetentionIsTakenAppByApp: an app whose retention the log refuses does not stop the others.
func TestRetentionIsTakenAppByApp(t *testing.T) {
	text := "mode: development\napps: [{id: aa, history_max_messages: %d}, {id: bb, history_max_messages: %d}, {id: cc}]\n"
	r := newRetryRig(t, fmt.Sprintf(text, 10, 10))
	r.refuses["aa"] = true
	r.write(fmt.Sprintf(text, 20, 5))
	r.again(t.Context(), false)
	if w := r.pending(); !slices.Equal(w, []string{"apps[0].history"}) {
		t.Errorf("%v wait", w)
	}
	if a, b := r.inForce.Apps[0].MaxMessages, r.inForce.Apps[1].MaxMessages; a != 10 || b != 5 {
		t.Errorf("aa keeps %d and bb %d", a, b)
	}
	for range 3 {
		r.retry(t.Context(), time.Now())
	}
	if n := strings.Count(r.written.String(), "could not be set"); n != 1 || r.attempts.Load() != 4 {
		t.Errorf("it was said %d times of %d attempts:\n%s", n, r.attempts.Load(), r.written.String())
	}
	// A retention that was changed back is set again.
	r.write(fmt.Sprintf(text, 10, 5))
	r.again(t.Context(), false)
	if w := r.pending(); len(w) == 0 {
		t.Error("what may be in force in part is forgotten")
	}
	r.refuses["aa"] = false
	r.retry(t.Context(), time.Now())
	if w := r.pending(); len(w) > 0 || r.unsure != nil {
		t.Errorf("%v wait", w)
	}
}

// TestAFileWithErrorsStopsNoRetry: refused retention is tried again although the file has errors, and the
// file stays one with errors.
func TestAFileWithErrorsStopsNoRetry(t *testing.T) {
	text := "mode: development\napps: [{id: aa, history_max_messages: %d}]\n"
	r := newRetryRig(t, fmt.Sprintf(text, 10))
	r.refuses["aa"] = true
	r.write(fmt.Sprintf(text, 20))
	r.again(t.Context(), false)
	r.write(fmt.Sprintf(text, 20) + "hostt: x\n")
	r.again(t.Context(), false)
	before := r.attempts.Load()
	r.retry(t.Context(), time.Now())
	r.refuses["aa"] = false
	r.retry(t.Context(), time.Now())
	if n := r.attempts.Load() - before; n != 2 {
		t.Errorf("%d attempts in two retries", n)
	}
	if w := r.pending(); len(w) > 0 || r.inForce.Apps[0].MaxMessages != 20 {
		t.Errorf("%v wait, and %d are kept", w, r.inForce.Apps[0].MaxMessages)
	}
	if says := strings.Join(r.problems(), "\n"); !strings.Contains(says, "hostt") {
		t.Errorf("readiness says %q", says)
	}
	if n := strings.Count(r.written.String(), "nothing was changed"); n != 1 {
		t.Errorf("the errors were told %d times:\n%s", n, r.written.String())
	}
}

func TestAnotherIntervalOfTheWatchIsInForceAtOnce(t *testing.T) {
	text := "mode: development\nconfig: {watch_interval: %s}\nwebsocket: {max_subscriptions: %d}\n"
	r := newRetryRig(t, fmt.Sprintf(text, "1h", 1))
	r.log = slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(t.Context())
	hangup := make(chan os.Signal)
	var running sync.WaitGroup
	running.Go(func() { r.run(ctx, hangup) })
	defer func() { cancel(); running.Wait() }()
	read := func(times uint64) func() bool { return func() bool { return r.taken.Load() >= times } }
	await(t, "the file to be read at the start", read(1))
	r.write(fmt.Sprintf(text, "1s", 1))
	hangup <- syscall.SIGHUP
	await(t, "the file to be read when asked for", read(2))
	r.write(fmt.Sprintf(text, "1s", 22))
	await(t, "the new interval to be in force", read(3))
}
