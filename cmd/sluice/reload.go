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

// reloadTimeout bounds putting a configuration in force.
const reloadTimeout = 30 * time.Second

// reloader adopts settings while a server runs. One goroutine reloads; pending and problems are safe for
// concurrent use.
type reloader struct {
	*backend
	apps *app.Registry
	log  *slog.Logger
	// busy is called when the configuration is read again, and the returned function when that is done.
	busy func() (done func())
	// apply applies apps and limits to what exists already, and setLevel the log level; both may be nil.
	apply    func(context.Context, app.PerConnection) error
	setLevel func(string)
	// cluster has the apps of the cluster, nil for none.
	cluster *cluster
	// inForce is the configuration by which the server runs: the one of the start, with the changes adopted
	// since and the apps of the cluster. wanted is the last valid one that was read from the file.
	inForce, wanted *configs.Config
	// unsure are the keys of a retention that the log may have adopted in part; nil if there is none.
	unsure []string

	// said rate-limits log lines about a retention that the log refuses.
	said seldom.Lines

	// shared are the settings in force that gateways compare.
	shared          atomic.Pointer[gateway.Settings]
	taken, refusals atomic.Uint64

	mu sync.Mutex
	// waiting are the keys whose changes need a restart. refused is why the configuration that was read last is
	// not in force, and missed why the apps of the cluster are not.
	waiting         []string
	refused, missed string
}

// share publishes the settings in force to other gateways.
func (r *reloader) share() {
	s := gateway.Settings(r.inForce.Shared())
	r.shared.Store(&s)
}

// pending returns the settings whose changes need a restart.
func (r *reloader) pending() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting
}

// problems returns why the configuration that was read last is not in force, and which apps of the cluster are
// not.
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

// refusedConfig begins the readiness problem of a configuration with errors.
const refusedConfig = "the configuration was read again and has errors, so the one before stays in force: "

// missedApps begins the readiness problem of pending changes to the apps of the cluster.
const missedApps = "the apps of the cluster could not be put in force, and stay as they were: "

// maxRefused bounds the errors in readiness, in bytes.
const maxRefused = 2048

// isRefused reports whether the configuration that was read last is not in force.
func (r *reloader) isRefused() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused != ""
}

// joined joins a list into one sentence.
func joined(list []string) string { return strings.Join(list, "; ") }

// refuse records why a configuration is not adopted, and reports whether that is new.
func (r *reloader) refuse(err error) (isNew bool) {
	return r.refuseAs(&r.refused, err)
}

// miss records why the apps of the cluster are not in force, nil if they are, and reports whether that is new.
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
	// Counted last, so that readiness already has the reason of every counted refusal.
	r.refusals.Add(1)
	return isNew
}

// isMissed reports whether adopting the apps of the cluster must be retried.
func (r *reloader) isMissed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.missed != ""
}

// register registers metrics about reloading.
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

// reload adopts what can change without a restart, and reports what cannot. The latter is compared with what is
// in force each time, so it is reported until a restart or until it is reverted. After an error nothing has
// changed. asked says that an operator has requested the reload and is told the result in any case.
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
		r.apps.Replace(appsOf(r.inForce)...) // the retention decides how publications are counted
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
		// Smaller logs may have made room for refused apps.
		if err := r.reload(outer, file, false); err != nil {
			r.miss(err) // this is retried; what was adopted above is in force
		}
	}
	return nil
}

// withCluster adds the apps of the cluster that are valid together with what is in force. An invalid one is
// refused by itself and does not affect others.
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

// putInForce applies the configuration to what exists already.
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

// tell logs what was adopted and what needs a restart. fresh says that the file was read again, which ends an
// earlier refusal.
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

// takeRetention lets the log adopt retention app by app, and returns the keys that it has not adopted, which are
// retried.
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
		left = keys // it was refused before as well, and then reverted
	}
	r.unsure = left
	return left, err
}
