package follow

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestWeeks03AnOutageIsOneLineForEachApp: before, when the log was unavailable for too long, each channel
// whose repair was given up had a log line of its own.
func TestWeeks03AnOutageIsOneLineForEachApp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const channels = 6
		y := newToy(channels)
		defer y.close()
		var said bytes.Buffer
		y.feed.opt.Logger = slog.New(slog.NewTextHandler(&said, nil))
		for i := range channels {
			y.begins <- nil
			if _, err := y.feed.Attach(t.Context(), fmt.Sprint("app", i%2), fmt.Sprint(i), fmt.Sprint(i), &recorder{}); err != nil {
				t.Fatal(err)
			}
		}
		var back atomic.Bool
		go func() {
			for y.ctx.Err() == nil {
				answer := func(*toyLine) (func() Found, error) { return nil, errors.New("away") }
				if back.Load() {
					answer = page(1)
				}
				select {
				case y.answers <- answer:
				case <-y.ctx.Done():
				}
			}
		}()
		for _, app := range []string{"app0", "app1"} {
			for _, f := range y.feed.Of(app) {
				f.Lock()
				f.Repair(Read)
				f.Unlock()
			}
		}
		time.Sleep(y.feed.opt.RepairTimeout + 10*time.Second)
		back.Store(true)
		synctest.Wait()
		if n := strings.Count(said.String(), "repair given up"); n != 2 {
			t.Errorf("the log has %d lines of two apps:\n%s", n, said.String())
		}
	})
}
