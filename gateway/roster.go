package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/presence"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/rest"
	"github.com/sluicehq/sluice/kv"
)

// rosterPatience is how long the start waits for a table that cannot be reached: it may have no leader for
// some seconds. rosterPause is the time between two attempts.
const (
	rosterPatience = 30 * time.Second
	rosterPause    = 100 * time.Millisecond
)

// openRoster enters this gateway into the cluster.
func (n *Node) openRoster(port string) error {
	if n.opt.Table == nil {
		return nil
	}
	opt := n.opt.Presence
	opt.Table, opt.Node, opt.Lease, opt.Logger = n.opt.Table, n.opt.Name, n.opt.Lease, n.opt.Logger
	if n.hooks != nil {
		opt.Settled = n.hooks.Settled
	}
	opt.Members = func(channel string) bool { return pusher.KindOf(channel).Presence() }
	opt.Tell = n.opt.Hub.Herald.Tell
	err := patiently(func(ctx context.Context) (err error) {
		n.roster, err = presence.New(ctx, opt)
		return err
	})
	if err != nil {
		return fmt.Errorf("taking part in presence: %w", err)
	}
	n.opt.Hub.Roster = n.roster
	n.registerRoster(port)
	return nil
}

// registerRoster registers the metrics of the roster.
func (n *Node) registerRoster(port string) {
	n.registerMembers(port)
	at := prometheus.Labels{"port": port}
	for _, m := range []struct {
		name, help string
		read       func(presence.Stats) float64
		gauge      bool
	}{
		{"presence_writes_total", "Seats that were written to the shared table.", func(s presence.Stats) float64 { return float64(s.Writes) }, false},
		{"presence_failures_total", "Uses of the shared table that failed and were tried again.", func(s presence.Stats) float64 { return float64(s.Failures) }, false},
		{"presence_burials_total", "Gateways that this one declared dead.", func(s presence.Stats) float64 { return float64(s.Burials) }, false},
		{"presence_revivals_total", "Times that others had taken this gateway for dead.", func(s presence.Stats) float64 { return float64(s.Revivals) }, false},
		{"presence_unclaimed_total", "Cache misses that were told without asking whether another gateway tells them, because there were too many of the app.", func(s presence.Stats) float64 { return float64(s.Unclaimed) }, false},
		{"presence_seats", "Members and subscription counts that this gateway holds.", func(s presence.Stats) float64 { return float64(s.Seats) }, true},
		{"presence_waiting", "Seats that wait to be written.", func(s presence.Stats) float64 { return float64(s.Waiting) }, true},
		{"presence_rooms", "Channels whose members are followed.", func(s presence.Stats) float64 { return float64(s.Rooms) }, true},
	} {
		name := n.opt.MetricsPrefix + m.name
		read := func() float64 { return m.read(n.roster.Stats()) }
		if m.gauge {
			n.opt.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: m.help, ConstLabels: at}, read))
		} else {
			n.opt.Registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: m.help, ConstLabels: at}, read))
		}
	}
}

// registerMembers registers the number of members of each app.
func (n *Node) registerMembers(port string) {
	n.http.apps.Gauge(n.opt.Registry, prometheus.GaugeOpts{
		Name: n.opt.MetricsPrefix + "presence_members", Help: "Users in presence channels by connections of this gateway, each once for each channel.",
		ConstLabels: prometheus.Labels{"port": port},
	}, func() map[string]float64 {
		members := map[string]float64{}
		for _, id := range n.opt.Apps.IDs() {
			members[id] = float64(n.roster.LocalMembers(id))
		}
		return members
	})
}

// patiently calls do until it succeeds or fails for another reason than an unavailable table, rosterPatience
// at most.
func patiently(do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), rosterPatience)
	defer cancel()
	for {
		err := do(ctx)
		if err == nil || ctx.Err() != nil || !errors.Is(err, kv.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(rosterPause):
		}
	}
}

func (n *Node) closeRoster(ctx context.Context) {
	if n.roster != nil {
		n.roster.Close(ctx)
	}
}

// census implements [rest.Census] with the roster.
type census struct{ roster *presence.Roster }

// unavailable turns an outage of the table into one of the backend.
func unavailable(err error) error {
	if errors.Is(err, kv.ErrUnavailable) {
		return fmt.Errorf("%w: %w", broker.ErrUnavailable, err)
	}
	return err
}

// Channel implements [rest.Census].
func (c census) Channel(ctx context.Context, app, channel string) (rest.Count, error) {
	n, err := c.roster.Count(ctx, app, channel)
	return rest.Count(n), unavailable(err)
}

// Channels implements [rest.Census].
func (c census) Channels(ctx context.Context, app, prefix string, room func(int) error) (map[string]rest.Count, error) {
	all, err := c.roster.Channels(ctx, app, prefix, room)
	out := make(map[string]rest.Count, len(all))
	for channel, n := range all {
		out[channel] = rest.Count(n)
	}
	return out, unavailable(err)
}

// Users implements [rest.Census].
func (c census) Users(ctx context.Context, app, channel string) ([]string, error) {
	users, err := c.roster.Users(ctx, app, channel)
	return users, unavailable(err)
}
