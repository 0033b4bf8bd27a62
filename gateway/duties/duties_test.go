package duties

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRun02DutiesBeginAndEnd runs duties of which one fails at first.
func TestRun02DutiesBeginAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var working sync.WaitGroup
		d := New(Options{
			Context: ctx, Timeout: time.Second, Logger: slog.New(slog.DiscardHandler),
			Background: func(f func()) bool { working.Go(f); return true },
			Pause: func(p time.Duration) bool {
				select {
				case <-time.After(p):
					return true
				case <-ctx.Done():
					return false
				}
			},
		})
		var mu sync.Mutex
		running, failing := map[string]int{}, map[string]bool{"b": true}
		begin := func(name string) Begin {
			return func(context.Context) (func(), error) {
				mu.Lock()
				defer mu.Unlock()
				if failing[name] {
					return nil, errors.New("refused")
				}
				running[name]++
				return func() { mu.Lock(); running[name]--; mu.Unlock() }, nil
			}
		}
		is := func(want map[string]int) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			for name, n := range want {
				if running[name] != n {
					t.Errorf("%s runs %d times, want %d", name, running[name], n)
				}
			}
		}
		d.Take(map[string]Begin{"a": begin("a"), "b": begin("b"), "c": begin("c")})
		is(map[string]int{"a": 1, "b": 0, "c": 1})
		if p := d.Problems(); len(p) != 1 || p[0] != "b are not followed: refused" {
			t.Errorf("problems: %q", p)
		}
		d.Take(map[string]Begin{"a": begin("a"), "b": begin("b")})
		is(map[string]int{"a": 1, "b": 0, "c": 0})
		mu.Lock()
		failing["b"] = false
		mu.Unlock()
		<-time.After(2 * retryPause) // in synctest time
		synctest.Wait()
		is(map[string]int{"a": 1, "b": 1})
		if p := d.Problems(); len(p) > 0 {
			t.Errorf("problems: %q", p)
		}
		mu.Lock()
		failing["d"] = true
		mu.Unlock()
		d.Take(map[string]Begin{"d": begin("d")})
		is(map[string]int{"a": 0, "b": 0})
		d.Take(nil)
		if p := d.Problems(); len(p) > 0 {
			t.Errorf("what is not wanted is a problem: %q", p)
		}
		d.Take(map[string]Begin{"a": begin("a")})
		d.Close()
		is(map[string]int{"a": 0})
		cancel()
		working.Wait()
	})
}
