package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicehq/sluice/broker/seldom"
	"github.com/sluicehq/sluice/configs"
	"github.com/sluicehq/sluice/gateway"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/streams"
)

// reloadTimeout bounds how long putting a configuration in force may take.
const reloadTimeout = 30 * time.Second

// reloader takes settings over while a server runs. One goroutine reloads; anybody may ask
// what waits.
type reloader struct {
	*backend
	apps *app.Registry
	log  *slog.Logger
	// busy is told that the configuration is read again, and what it returns when that is done.
	busy func() (done func())
	// apply puts apps and limits in force for what is there already, and setLevel the least
	// level that is logged; nil for nobody.
	apply    func(context.Context, app.PerConnection) error
	setLevel func(string)
	// cluster has the apps of the cluster, nil for none.
	cluster *cluster
	// inForce is the configuration by which the server runs: that of the start, with what
	// was taken over since, and the apps of the cluster. wanted is the last good one that was read
	// from the file.
	inForce, wanted *configs.Config
	// unsure are the keys of a retention of which the log may have taken a part; nil if there is
	// none.
	unsure []string

	// said tells of a retention that the log refuses.
	said seldom.Lines

	// shared are the settings in force that gateways compare.
	shared          atomic.Pointer[gateway.Settings]
	taken, refusals atomic.Uint64

	mu sync.Mutex
	// waiting are the keys that the configuration has otherwise than the server, refused is
	// why what was read last is not in force, and missed why the apps of the cluster are not.
	waiting         []string
	refused, missed string
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

// problems says why the configuration that was read last is not in force, if it is not, and which
// apps of the cluster are not.
func (r *reloader) problems() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := append([]string{}, r.cluster.Problems()...)
	if r.missed != "" {
		out = append(out, missedApps+r.missed)
	}
	if r.refused != "" {
		out = append(out, refusedConfig+r.refused)
	}
	return out
}

// refusedConfig begins what readiness says of a configuration with errors.
const refusedConfig = "the configuration was read again and has errors, so the one before stays in force: "

// missedApps begins what readiness says while changes of the apps of the cluster wait.
const missedApps = "the apps of the cluster could not be put in force, and stay as they were: "

// maxRefused bounds what readiness says of errors, in bytes.
const maxRefused = 2048

// isRefused says whether the configuration that was read last is not in force.
func (r *reloader) isRefused() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused != ""
}

// joined is a list in one sentence.
func joined(list []string) string { return strings.Join(list, "; ") }

// refuse notes that a configuration is not taken over, and says whether that is new.
func (r *reloader) refuse(err error) (isNew bool) {
	return r.refuseAs(&r.refused, err)
}

// miss notes why the apps of the cluster are not in force, nil if they are, and says whether that is new.
func (r *reloader) miss(err error) (isNew bool) {
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.missed = ""
		return false
	}
	return r.refuseAs(&r.missed, err)
}

func (r *reloader) refuseAs(why *string, err error) (isNew bool) {
	text := oneLine(err)
	if len(text) > maxRefused {
		text = text[:maxRefused] + "..."
	}
	r.mu.Lock()
	isNew = *why != text
	*why = text
	r.mu.Unlock()
	// Who sees it counted finds it in readiness.
	r.refusals.Add(1)
	return isNew
}

// isMissed says whether the apps of the cluster must be taken over again.
func (r *reloader) isMissed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.missed != ""
}

// register makes visible how reading the configuration again goes.
func (r *reloader) register(registry prometheus.Registerer, prefix string) {
	count := func(result string, n *atomic.Uint64) {
		registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: prefix + "config_reloads_total", Help: "Times that the configuration was read again while the server ran, by whether it was taken over or refused.",
			ConstLabels: prometheus.Labels{"result": result},
		}, func() float64 { return float64(n.Load()) }))
	}
	count("taken", &r.taken)
	count("refused", &r.refusals)
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: prefix + "config_refused", Help: "1 while the configuration that was read last has errors, and the one before stays in force.",
	}, func() float64 {
		if r.isRefused() {
			return 1
		}
		return 0
	}))
}

// reload takes over what can be without a restart, and tells what cannot. What cannot is
// compared with what is in force each time, so it is told again until a restart or until
// it is taken back. With an error nothing was changed. asked says that somebody asked for it, who
// is told in any case.
func (r *reloader) reload(ctx context.Context, file *configs.Config, asked bool) error {
	outer, fresh := ctx, file != r.wanted
	ctx, cancel := context.WithTimeout(outer, reloadTimeout)
	defer cancel()
	next, err := r.withCluster(file)
	if err != nil {
		return err
	}
	taken, retention, waiting := r.inForce.Changed(next)
	merged, err := r.inForce.With(next)
	if err != nil {
		return err
	}
	if r.serveApps != nil {
		if err := r.serveApps(ctx, merged); err != nil {
			return fmt.Errorf("the log cannot serve these apps: %w", err)
		}
	}
	r.apps.Replace(appsOf(merged)...)
	r.inForce, r.wanted = merged, file
	room := false
	switch {
	case len(retention) == 0 && r.unsure == nil:
	case r.retain == nil:
		waiting = append(waiting, retention...)
	default:
		for _, key := range r.unsure {
			if !slices.Contains(retention, key) {
				retention = append(retention, key)
			}
		}
		left, err := r.takeRetention(ctx, next, retention)
		r.apps.Replace(appsOf(r.inForce)...) // what is kept decides how it is counted
		if err != nil {
			r.said.Error(r.log, "retention", "the new retention could not be set; it is tried again", "error", err)
		}
		waiting = append(waiting, left...)
		for _, key := range retention {
			if !slices.Contains(left, key) {
				taken, room = append(taken, key), true
			}
		}
	}
	r.putInForce(ctx)
	r.tell(taken, waiting, asked, fresh)
	if room && r.cluster.refuses() {
		// There may be room for them now that other logs are smaller.
		if err := r.reload(outer, file, false); err != nil {
			r.miss(err) // It is tried again; what was taken over above is in force.
		}
	}
	return nil
}

// withCluster is a configuration with the apps of the cluster that can be used beside what is in force:
// what cannot is refused alone, and stops nobody else.
func (r *reloader) withCluster(file *configs.Config) (*configs.Config, error) {
	if r.cluster == nil {
		return file, nil
	}
	basis, err := r.inForce.Basis(file)
	if err != nil {
		return nil, err
	}
	full := r.cluster.with(basis, r.inForce.Apps[len(r.wanted.Apps):])
	next := *file
	next.Apps = slices.Concat(file.Apps, full.Apps[len(file.Apps):])
	return &next, nil
}

// putInForce has what is there already go by the configuration.
func (r *reloader) putInForce(ctx context.Context) {
	if r.setLevel != nil {
		r.setLevel(r.inForce.LogLevel)
	}
	if r.apply != nil {
		if err := r.apply(ctx, perConnection(r.inForce)); err != nil {
			r.log.Error("a part of the configuration could not be put in force", "error", err)
		}
	}
	r.share()
}

// tell says what was taken over and what waits. Only a file that was read anew says that there are no
// errors any more.
func (r *reloader) tell(taken, waiting []string, asked, fresh bool) {
	r.mu.Lock()
	before, mended := len(r.waiting), fresh && r.refused != ""
	news := strings.Join(waiting, " ") != strings.Join(r.waiting, " ")
	if r.waiting, r.missed = waiting, ""; fresh {
		r.refused = ""
	}
	r.mu.Unlock()
	r.taken.Add(1)
	switch {
	case len(waiting) > 0 && (news || asked):
		r.log.Warn("settings have changed that need a restart", "keys", strings.Join(waiting, " "))
	case len(waiting) == 0 && before > 0:
		r.log.Info("no setting needs a restart any more")
	}
	switch {
	case len(taken) > 0:
		r.log.Info("the configuration was read again and is in force", "keys", strings.Join(taken, " "))
	case mended:
		r.log.Info("the configuration was read again and has no errors any more; it is the one that is in force")
	case asked:
		r.log.Info("the configuration was read again; there is nothing to take over")
	}
}

// takeRetention takes over what the log takes, app by app, and returns the keys of the rest, which is
// tried again.
func (r *reloader) takeRetention(ctx context.Context, next *configs.Config, keys []string) (left []string, err error) {
	err = r.retain(ctx, r.inForce.WithRetention(next, func(string) bool { return false }))
	var refused streams.NotRetained
	if err != nil && !errors.As(err, &refused) {
		r.unsure = keys
		return keys, err
	}
	r.inForce = r.inForce.WithRetention(next, func(app string) bool { return refused[app] != nil })
	if r.unsure = nil; err == nil {
		return nil, nil
	}
	if _, left, _ = r.inForce.Changed(next); len(left) == 0 {
		left = keys // it was refused before as well, and then taken back
	}
	r.unsure = left
	return left, err
}
