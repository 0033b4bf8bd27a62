package main

import (
	"net/http"
	"time"

	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/web"
	"github.com/sluicehq/sluice/streams"
)

// appsOf converts the configured apps to those of a gateway.
func appsOf(c *configs.Config) []*app.App {
	global := app.Delta{
		Enabled: c.Delta.Enabled, Algorithm: pusher.ParseAlgorithm(c.Delta.Algorithm), Interval: c.Delta.Interval,
		MinSize: c.Delta.MinSize, MaxAgeSeconds: int(c.Delta.MaxAge / time.Second), Path: c.Delta.Path,
		MaxKeys: c.Delta.MaxKeys, DeliverTags: c.DeliverTags,
	}
	var apps []*app.App
	for i := range c.Apps {
		a := &c.Apps[i]
		out := &app.App{
			ID: a.ID, Key: a.Key, Secret: a.Secret, Enabled: a.Enabled,
			RetainedMessages: int(max(a.MaxMessages, 0)), HistoryEnabled: c.History.Enabled, Readings: app.NewReadings(readingsOf(a)), Delta: global, Conflate: a.Conflate,
			Rewind: c.History.Enabled && c.History.Rewind,
			Recovery: app.Recovery{
				Enabled: c.Recovery.Enabled, MaxEvents: c.Recovery.MaxEvents, MaxBytes: c.Recovery.MaxBytes, Age: c.Recovery.Age,
			},
			ClientEvents: a.ClientEvents, ClientEventRate: a.ClientEventRate, UserAuth: a.UserAuth, Origins: a.Origins,
			Watchlist: a.Watchlist && a.UserAuth, SubscriptionCount: a.SubscriptionCount,
			Limits: app.Limits{
				MaxConnections: a.MaxConnections, MaxEventPayload: a.MaxPayload, MaxChannelsPerEvent: a.MaxChannels,
				MaxBatchSize: a.MaxBatch, MaxEventNameLength: a.MaxEventName, MaxChannelLength: a.MaxChannelName,
				MaxHistoryPage: c.History.MaxPage, MaxMembers: a.MaxMembers, MaxMemberInfo: a.MaxMemberInfo,
				EventsPerSecond: a.MaxEvents, ReadsPerSecond: a.MaxReads, MaxIdempotencyKey: c.HTTP.MaxIdempotencyKey,
			},
		}
		for _, k := range a.Earlier {
			out.Earlier = append(out.Earlier, app.Key{Key: k.Key, Secret: k.Secret, Until: k.Until})
		}
		for _, s := range a.Snapshots {
			out.Snapshots = append(out.Snapshots, app.SnapshotPattern{
				Match: s.Pattern, Snapshot: app.Snapshot{On: s.Enabled, MaxValues: s.MaxValues},
			})
		}
		for _, w := range a.Webhooks {
			out.Webhooks = append(out.Webhooks, app.Webhook{
				URL: w.URL, Events: w.Events, Prefix: w.Prefix, Suffix: w.Suffix, Headers: w.Headers,
				Batch: w.Batch, BatchTime: w.BatchTime, BatchSize: w.BatchSize,
			})
		}
		if a.RequireAuth {
			out.AuthTimeout = c.AuthTimeout
		}
		for _, d := range a.Channels {
			own := global
			own.Enabled = global.Enabled && d.Enabled
			own.Algorithm, own.Path = pusher.ParseAlgorithm(d.Algorithm), d.Path
			own.MaxKeys, own.DeliverTags = d.MaxKeys, d.DeliverTags
			out.Patterns = append(out.Patterns, app.Pattern{Match: d.Pattern, Delta: own})
		}
		apps = append(apps, out)
	}
	return apps
}

// perConnection returns the limits of one connection.
func perConnection(c *configs.Config) app.PerConnection {
	return app.PerConnection{
		Filters: c.Filters, MaxFilterBytes: c.WebSocket.MaxFilterBytes, MaxSubscriptions: c.WebSocket.MaxSubscriptions,
		MaxDeltaChannels: c.Delta.MaxChannels, MessageRate: c.WebSocket.MessageRate, SubscriptionRate: c.WebSocket.SubscriptionRate,
	}
}

func readingsOf(a *configs.App) []app.ReadingPattern {
	var out []app.ReadingPattern
	for _, h := range a.Histories {
		out = append(out, app.ReadingPattern{
			Match: h.Pattern, Reading: app.Reading{Off: !h.Enabled, Messages: h.MaxMessages, Age: h.Retention},
		})
	}
	return out
}

// pageOf returns the page for the first app.
func pageOf(c *configs.Config, b *backend) http.Handler {
	a := &c.Apps[0]
	return web.Handler(web.Options{
		AppID: a.ID, AppKey: a.Key, Version: versionText(), Console: c.Console.Enabled && c.Console.Port < 0,
		Example: "lobby", Subject: c.NATS.Prefix + streams.SubjectOf(a.ID, "lobby"), NATSURL: b.natsURL,
	})
}
