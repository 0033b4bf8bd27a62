package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/sluicehq/sluice/broker/redis"
	"github.com/sluicehq/sluice/configs"
)

// openRedis opens the log on Redis, with its table and work queues.
func openRedis(ctx context.Context, c *configs.Config, log *slog.Logger) (*backend, error) {
	l, err := redis.Open(ctx, redisOptions(c, log))
	if err != nil {
		return nil, err
	}
	b := &backend{log: l}
	if b.table, err = l.OpenTable(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("table of cluster state: %w", err), b.close())
	}
	b.work = l.OpenWork()
	// On Redis, every event carries the retention, so the retention changes together with the apps.
	b.serveApps = func(ctx context.Context, c *configs.Config) error {
		apps, most := redisApps(c)
		return l.Serve(ctx, apps, most)
	}
	b.retain = b.serveApps
	b.numbers = statsOf(l.Stats, c.Metrics.Prefix)
	return b, nil
}

// redisOptions returns the options for Redis of a configuration.
func redisOptions(c *configs.Config, log *slog.Logger) redis.Options {
	opt := redis.Options{
		URL: c.RedisURL, Cluster: c.Driver == "redis-cluster", Prefix: c.Redis.Prefix,
		CAFile: c.Redis.CAFile, CertFile: c.Redis.CertFile, KeyFile: c.Redis.KeyFile,
		StartTimeout: c.Redis.StartTimeout, PublishTimeout: c.HTTP.PublishTimeout, Logger: log,
	}
	opt.Apps, opt.MaxData = redisApps(c)
	if file := c.RedisURLFile; file != "" {
		opt.URLSource = func() (redis.Secret, error) { return configs.ReadSecret(file) }
	}
	return opt
}

// redisApps returns the apps of a configuration, and the highest limit of the data of their events in bytes.
func redisApps(c *configs.Config) (apps []redis.AppOptions, most int) {
	most = 64 << 10
	for i := range c.Apps {
		a := &c.Apps[i]
		most = max(most, a.MaxPayload)
		apps = append(apps, redis.AppOptions{ID: a.ID, MaxMessages: a.MaxMessages, MaxAge: a.Retention})
	}
	return apps, most
}
