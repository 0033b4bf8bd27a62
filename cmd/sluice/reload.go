package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/app"
)

// reloadTimeout bounds how long changing the log may take.
const reloadTimeout = 30 * time.Second

// reloader is what a running server takes settings over with.
type reloader struct {
	*backend
	apps *app.Registry
	log  *slog.Logger
}

// reloading reads the configuration again at each SIGHUP until the function that it
// returns is called, which waits for the end.
func reloading(ctx context.Context, r reloader, c *configs.Config, again func() (*configs.Config, error)) (stop func()) {
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
			next, err := again()
			if err != nil {
				r.log.Error("the configuration was read again and has errors; nothing was changed", "error", err)
				continue
			}
			if r.reload(ctx, c, next) {
				c = next
			}
		}
	})
	return func() {
		signal.Stop(hangup)
		cancel()
		running.Wait()
	}
}

// reload takes over what can be without a restart, and tells what cannot.
func (r reloader) reload(ctx context.Context, c, next *configs.Config) bool {
	reading, retention, rest := c.Changed(next)
	if len(rest) > 0 {
		r.log.Warn("settings have changed that need a restart", "keys", strings.Join(rest, " "))
	}
	changed := append(reading, retention...)
	if len(changed) == 0 {
		r.log.Info("the configuration was read again; there is nothing to take over")
		return false
	}
	if r.retain == nil && len(retention) > 0 || strings.Contains(strings.Join(rest, " "), "apps") {
		r.log.Warn("settings of retention have changed that need a restart", "keys", strings.Join(changed, " "))
		return false
	}
	if len(retention) > 0 {
		ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
		defer cancel()
		if err := r.retain(ctx, next); err != nil {
			r.log.Error("the new retention could not be set", "error", err)
			return false
		}
	}
	for i := range next.Apps {
		if a := r.apps.ByID(next.Apps[i].ID); a != nil {
			a.Readings.Replace(readingsOf(&next.Apps[i]))
		}
	}
	r.log.Info("the configuration was read again and is in force", "keys", strings.Join(changed, " "))
	return true
}
