package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
)

// reloadTimeout bounds how long changing the log may take.
const reloadTimeout = 30 * time.Second

// reloader takes settings over while a server runs. One goroutine reloads; anybody may ask
// what waits.
type reloader struct {
	*backend
	apps *app.Registry
	log  *slog.Logger
	// busy is told that the configuration is read again, and what it returns when that is done.
	busy func() (done func())
	// inForce is the configuration by which the server runs: that of the start, with what
	// was taken over since.
	inForce *configs.Config
	// unsure says that the log may have taken a part of a retention that failed.
	unsure bool

	// shared are the settings in force that gateways compare.
	shared atomic.Pointer[gateway.Settings]

	mu sync.Mutex
	// waiting are the keys that the configuration has otherwise than the server.
	waiting []string
}

// share lets other gateways know what is in force.
func (r *reloader) share() {
	s := gateway.Settings(r.inForce.Shared())
	r.shared.Store(&s)
}

// pending names the settings that wait for a restart.
func (r *reloader) pending() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting
}

// reloading reads the configuration again at each SIGHUP until the function that it
// returns is called, which waits for the end.
func reloading(ctx context.Context, r *reloader, again func() (*configs.Config, error)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangup:
			}
			done := r.busy()
			next, err := again()
			if err != nil {
				r.log.Error("the configuration was read again and has errors; nothing was changed", "error", err)
			} else {
				r.reload(ctx, next)
			}
			done()
		}
	})
	return func() {
		signal.Stop(hangup)
		cancel()
		running.Wait()
	}
}

// reload takes over what can be without a restart, and tells what cannot. What cannot is
// compared with what is in force each time, so it is told again until a restart or until
// it is taken back.
func (r *reloader) reload(ctx context.Context, next *configs.Config) {
	reading, retention, waiting := r.inForce.Changed(next)
	taken := reading
	r.inForce = r.inForce.WithReading(next)
	for i := range r.inForce.Apps {
		own := &r.inForce.Apps[i]
		if a := r.apps.ByID(own.ID); a != nil {
			a.Readings.Replace(readingsOf(own))
		}
	}
	switch {
	case len(retention) == 0 && !r.unsure:
	case r.retain == nil:
		waiting = append(waiting, retention...)
	default:
		if err := r.takeRetention(ctx, next); err != nil {
			r.log.Error("the new retention could not be set; the next SIGHUP tries again", "error", err)
			waiting = append(waiting, retention...)
		} else {
			taken = append(taken, retention...)
		}
	}
	if len(taken) > 0 {
		r.share()
	}
	r.mu.Lock()
	before := len(r.waiting)
	r.waiting = waiting
	r.mu.Unlock()
	switch {
	case len(waiting) > 0:
		r.log.Warn("settings have changed that need a restart", "keys", strings.Join(waiting, " "))
	case before > 0:
		r.log.Info("no setting needs a restart any more")
	}
	if len(taken) == 0 {
		r.log.Info("the configuration was read again; there is nothing to take over")
		return
	}
	r.log.Info("the configuration was read again and is in force", "keys", strings.Join(taken, " "))
}

func (r *reloader) takeRetention(ctx context.Context, next *configs.Config) error {
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	wanted := r.inForce.WithRetention(next)
	r.unsure = true
	if err := r.retain(ctx, wanted); err != nil {
		return err
	}
	r.inForce, r.unsure = wanted, false
	return nil
}
