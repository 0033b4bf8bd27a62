package streams

import (
	"errors"
	"strings"
	"time"

	"github.com/sluicehq/sluice/broker"
)

const (
	// refusalAge is how long a refusal counts that is not repeated.
	refusalAge = 7 * time.Second
	// refusalLongest is the longest pause between attempts to subscribe again.
	refusalLongest = 5 * time.Minute
	// crowdedLongest is the longest pause for subscriptions that were refused because there were too many.
	crowdedLongest = 10 * time.Second
)

// refusal is something that the permissions of the user deny.
type refusal struct {
	// role of the connection, and the affected app, empty for all or none.
	role, app string
	err       error
	last      time.Time
	// A refused subscription stays dead until the connection is replaced, which is tried with growing pauses.
	subscription bool
	tried        time.Time
	pause        time.Duration
}

// refused records what NATS did not permit. It appears in readiness, and once in the log, because a wrong permission affects
// every channel.
func (l *Log) refused(role string, err error) {
	text := err.Error()
	if strings.Contains(text, `"$JS.EVENT.`) {
		l.unadvised.Store(true)
		// Without advisories, the audit finds messages that were lost at a change of leaders.
		l.opt.Logger.Warn("NATS does not permit advisories; what is lost at a change of leaders is noticed later", "error", err)
		return
	}
	if strings.Contains(text, namesAPI+`"`) {
		l.unlisted.Store(true)
		l.opt.Logger.Info("NATS does not permit listing streams; those that belong to no app are not named")
		return
	}
	if l.asking.deny(text, err) {
		l.skips.Warn(l.opt.Logger, "not permitted", "NATS does not permit what a request needs; see the permissions in docs/operations.md", "role", role, "error", err)
		return
	}
	mild := l.castRefused(text)
	now, app := time.Now(), l.appOf(text)
	what := "permissions of the " + role + " connection"
	switch {
	case mild:
		what = "ephemeral events of the app " + app
	case app == "":
		if errors.Is(err, errCrowded) {
			what = "subscriptions of the " + role + " connection"
		}
	case app == broker.GatewaysApp:
		what += " for orders to all gateways"
	default:
		what += " for the app " + app
	}
	l.mu.Lock()
	r := l.refusals[what]
	known := r != nil
	if !known {
		r = &refusal{role: role, app: app, pause: refusalAge, tried: now}
		if errors.Is(err, errCrowded) {
			r.pause = 0 // roomy tries it with a single subscription first
		}
		l.refusals[what] = r
	}
	r.err, r.last = err, now
	r.subscription = r.subscription || strings.Contains(text, "for Subscription") && !mild || errors.Is(err, errCrowded)
	l.mu.Unlock()
	l.tell(app, what, err, mild)
	if mild && !known {
		l.opt.Logger.Warn("NATS does not permit ephemeral events, which this gateway does not hear; see the permissions in docs/operations.md", "role", role, "error", err)
	} else if !known {
		l.opt.Logger.Error("NATS does not permit what a gateway needs; see the permissions in docs/operations.md", "role", role, "error", err)
	}
}

// refusal returns what was not permitted, nil if nothing.
func (l *Log) refusal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, r := range l.refusals {
		errs = append(errs, r.err)
	}
	return errors.Join(errs...)
}

// checkRefusals removes refusals that were not repeated. It replaces connections whose subscriptions were refused, in case the
// permissions have changed.
func (l *Log) checkRefusals(now time.Time) {
	links := map[string]*link{"feed": l.feed, "publish": l.pub, "read": l.read}
	anew := map[string]bool{}
	for _, k := range l.links() {
		anew[k.role] = k.permitted()
	}
	var over []*refusal
	l.mu.Lock()
	for what, r := range l.refusals {
		k := links[r.role]
		longest := refusalLongest
		crowded := errors.Is(r.err, errCrowded)
		if crowded {
			longest = crowdedLongest
		}
		switch {
		case r.subscription && anew[r.role]:
			r.tried = now
		case r.subscription && !r.last.Before(r.tried) || !k.connected():
			if k.connected() && now.Sub(r.tried) > r.pause && (!crowded || k.roomy()) {
				anew[r.role] = true
				r.tried, r.pause = now, min(max(2*r.pause, checkInterval), longest)
			}
		case r.subscription && now.Sub(r.tried) < checkInterval, now.Sub(r.last) < refusalAge:
			// It is not known yet whether the last attempt helped.
		default:
			delete(l.refusals, what)
			delete(l.problems, what)
			over = append(over, r)
		}
	}
	l.mu.Unlock()
	for _, r := range over {
		l.opt.Logger.Info("NATS permits what it did not", "role", r.role, "app", r.app)
	}
	for role, due := range anew {
		if !due {
			continue
		}
		if err := links[role].conn().ForceReconnect(); err != nil {
			l.opt.Logger.Warn("connection to NATS could not be made anew", "role", role, "error", err)
		}
	}
}
