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
)

// reloadTimeout bounds how long changing the log may take.
const reloadTimeout = 30 * time.Second

// reloading reads the configuration again at each SIGHUP until the function that it
// returns is called, which waits for the end.
func reloading(ctx context.Context, c *configs.Config, b *backend, log *slog.Logger, again func() (*configs.Config, error)) (stop func()) {
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
				log.Error("the configuration was read again and has errors; nothing was changed", "error", err)
				continue
			}
			if reload(ctx, c, next, b, log) {
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
func reload(ctx context.Context, c, next *configs.Config, b *backend, log *slog.Logger) bool {
	retention, rest := c.Changed(next)
	if len(rest) > 0 {
		log.Warn("settings have changed that need a restart", "keys", strings.Join(rest, " "))
	}
	if len(retention) == 0 {
		log.Info("the configuration was read again; there is nothing to take over")
		return false
	}
	if b.retain == nil || strings.Contains(strings.Join(rest, " "), "apps") {
		log.Warn("settings of retention have changed that need a restart", "keys", strings.Join(retention, " "))
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	if err := b.retain(ctx, next); err != nil {
		log.Error("the new retention could not be set", "error", err)
		return false
	}
	log.Info("the configuration was read again and is in force", "keys", strings.Join(retention, " "))
	return true
}
