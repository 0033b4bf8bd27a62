package redis

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sluicehq/sluice/broker"
)

// Retention of the log of gateways.
const (
	gatewaysMessages = 1000
	gatewaysAge      = 24 * time.Hour
)

// opening bounds the number of apps that are opened or checked concurrently.
const opening = 32

// openApps opens the logs of all apps. It fails if there are apps and none can be opened. An app that cannot
// be opened is recorded as a problem and retried while the log is open.
func (l *Log) openApps(ctx context.Context) error {
	all := append(slices.Clone(l.opt.Apps), AppOptions{ID: broker.GatewaysApp, MaxMessages: gatewaysMessages, MaxAge: gatewaysAge})
	l.add(all, nil)
	errs := make([]error, len(all))
	each(slices.Values(all), opening, func(o AppOptions) {
		i := slices.IndexFunc(all, func(x AppOptions) bool { return x.ID == o.ID })
		if errs[i] = l.tryOut(ctx, o.ID); errs[i] == nil {
			// A cluster answers pings before it serves, so it is retried until the start timeout.
			errs[i] = l.persist(ctx, func(ctx context.Context) error { return l.refresh(ctx, l.apps.Of(o.ID)) })
		}
	})
	if n := len(l.opt.Apps); n > 0 && !slices.Contains(errs[:n], nil) {
		return errors.Join(errs...)
	}
	for i, err := range errs {
		if err != nil {
			l.opt.Logger.Error("the log of an app cannot be opened; the others go on, and it is tried again", "app", all[i].ID, "error", err)
			l.appProblem(all[i].ID, epochOfApp(all[i].ID), err)
		}
	}
	return nil
}

// app returns the log of an app that is ready.
func (l *Log) app(id string) (*appLog, error) { return l.apps.Get(id) }

func epochOfApp(id string) string {
	if id == broker.GatewaysApp {
		return "epoch of the log of orders to all gateways"
	}
	return "epoch of the app " + id
}

// epochsOfAll is the problem of a server that fails for all apps in the same way. It replaces one problem per
// app.
const epochsOfAll = "epochs of all apps"

// checkEpochs checks the epochs of all apps, several concurrently.
func (l *Log) checkEpochs() {
	var mu sync.Mutex
	errs := map[string]error{}
	each(l.all(), opening, func(a *appLog) {
		ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
		defer cancel()
		err := l.refresh(ctx, a)
		mu.Lock()
		defer mu.Unlock()
		errs[a.opt.ID] = err
	})
	if l.ctx.Err() != nil {
		return
	}
	// The problem is reported once only if it has the same meaning for all apps.
	var all error
	for _, err := range errs {
		if m := meaningOf(err); m == nil || all != nil && m != meaningOf(all) {
			all = nil
			break
		}
		all = err
	}
	l.problem(epochsOfAll, all)
	for id, err := range errs {
		if all != nil {
			err = nil
		}
		l.appProblem(id, epochOfApp(id), err)
	}
}
