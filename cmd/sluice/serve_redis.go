package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker/redis"
	"github.com/sluicehq/sluice/configs"
)

// openRedis opens the log on Redis, with cluster state and queues of work.
func openRedis(ctx context.Context, c *configs.Config, log *slog.Logger) (*backend, error) {
	l, err := redis.Open(ctx, redisOptions(c, log))
	if err != nil {
		return nil, err
	}
	b := &backend{log: l}
	if b.table, err = l.OpenTable(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("table of cluster state: %w", err), b.close())
	}
	if hooked(c) {
		b.work = l.OpenWork()
	}
	b.numbers = []prometheus.Collector{newLogCollector(l.Stats, c.Metrics.Prefix)}
	return b, nil
}

func redisOptions(c *configs.Config, log *slog.Logger) redis.Options {
	opt := redis.Options{
		URL: c.RedisURL, Cluster: c.Driver == "redis-cluster", Prefix: c.Redis.Prefix,
		CAFile: c.Redis.CAFile, CertFile: c.Redis.CertFile, KeyFile: c.Redis.KeyFile,
		StartTimeout: c.Redis.StartTimeout, PublishTimeout: c.HTTP.PublishTimeout, MaxData: 64 << 10, Logger: log,
	}
	for i := range c.Apps {
		a := &c.Apps[i]
		opt.MaxData = max(opt.MaxData, a.MaxPayload)
		opt.Apps = append(opt.Apps, redis.AppOptions{ID: a.ID, MaxMessages: a.MaxMessages, MaxAge: a.Retention})
	}
	if file := c.RedisURLFile; file != "" {
		opt.URLSource = func() (redis.Secret, error) { return configs.ReadSecret(file) }
	}
	return opt
}
