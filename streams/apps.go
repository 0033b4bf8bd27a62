package streams

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/follow"
	"github.com/sluicehq/sluice/broker/name"
)

// appLog is the log of one app.
type appLog struct {
	opt AppOptions
	// limits are the present limits of the stream: those of opt until Retain changes them.
	limits atomic.Pointer[AppOptions]
	// credentials come from the secrets of opt until Retain changes them. The log of gateways has none.
	credentials atomic.Pointer[credentials]
	stream      string
	root        string // publish subjects up to the channel's token
	live        string // live subjects up to there
	epoch       atomic.Pointer[string]
	copies      atomic.Int64 // replicas of the stream in its settings
	kept        atomic.Int64 // replicas that exist
	storing     outcome
	known       witness
	tip         tip
	tips        tips
	spacing     spacing
	least       atomic.Pointer[least]
	leader      leadership
	// open is set once the stream is there and has an epoch.
	open atomic.Bool
	// crowded is the time until which batches are not stored as a whole, in Unix nanoseconds.
	crowded atomic.Int64
	// wake requests a comparison of the followed channels with the log.
	wake chan struct{}
	// retry requests it again after a failure.
	retry follow.Retry
	// look requests a look at the stream.
	look chan struct{}
	// upset counts the events after which live messages may have been missed, or the log may have forgotten
	// deduplication ids.
	upset atomic.Uint64
	// lacks is set when a live message of the app was dropped here, until its channels are compared.
	lacks atomic.Bool
	// uninterested is when the stream was last found with another retention policy, in Unix nanoseconds. With retention
	// by interest it acknowledges events without storing them.
	uninterested atomic.Int64
	// sure verifies that acknowledged events are stored.
	sure assurance
	// info is the last known state of the stream.
	info       atomic.Pointer[jetstream.StreamInfo]
	unnamed    unnamed
	overlooked overlooked
	// turn is held during a look at the stream, because an older answer must not be adopted after a newer one. It guards
	// created (when the stream was created), override (the epoch override in the bucket) and ended (the epochs that
	// ended during the life of this process).
	turn     chan struct{}
	created  time.Time
	override string
	ended    map[string]bool
	// watched is the supervision of the app, nil for none.
	watched *watched
}

// Ready reports whether the stream exists and has an epoch.
func (a *appLog) Ready() bool { return a.open.Load() }

func (a *appLog) currentEpoch() string { return *a.epoch.Load() }

// credentialsOf returns the credentials that prove claims about a channel, nil if there are none. In the log of gateways, the
// channel is named after an app, whose credentials count.
func (l *Log) credentialsOf(a *appLog, channel string) *credentials {
	if a.opt.ID == broker.GatewaysApp {
		known := false
		if a, known = l.apps.Find(channel); !known {
			return nil
		}
	}
	return a.credentials.Load()
}

// believes reports whether the proof of a message in the log of an app is valid.
func (l *Log) believes(a *appLog, subject string, h nats.Header, data []byte) bool {
	return l.proverOf(a, subject).believes(subject, h, data)
}

// proverOf is credentialsOf for the channel of a subject.
func (l *Log) proverOf(a *appLog, subject string) *credentials {
	channel := ""
	if a.opt.ID == broker.GatewaysApp {
		channel, _ = name.Decode(strings.TrimPrefix(subject, a.root))
	}
	return l.credentialsOf(a, channel)
}

// Limits of the log of gateways. It keeps more than a gateway can have missed when it comes back. Each server reserves its
// bytes.
const (
	gatewaysMessages = 1000
	gatewaysAge      = 24 * time.Hour
	gatewaysBytes    = 16 << 20
)

func (l *Log) newAppLog(o AppOptions) *appLog {
	a := &appLog{
		opt: o, stream: streamName(l.opt.Prefix, o.ID), wake: make(chan struct{}, 1), look: make(chan struct{}, 1),
		turn: make(chan struct{}, 1), ended: map[string]bool{},
	}
	a.sure.begun, a.sure.looking = make(chan struct{}, 1), make(chan struct{}, sureLooks)
	a.root, a.live = rootsOf(l.opt.Prefix, o.ID)
	a.limits.Store(&o)
	if len(o.Secrets) > 0 {
		a.credentials.Store(newCredentials(o.ID, o.Secrets))
	}
	a.storing.what, a.storing.app = "storing events of the app "+o.ID, o.ID
	if o.ID == broker.GatewaysApp {
		a.storing.what = "storing orders to all gateways"
	}
	return a
}

// addApps creates the logs of all apps and of the gateways, without opening them.
func (l *Log) addApps() {
	all := map[string]AppOptions{broker.GatewaysApp: {
		ID: broker.GatewaysApp, MaxMessages: gatewaysMessages, MaxAge: gatewaysAge, MaxBytes: gatewaysBytes, Replicas: l.opt.Replicas,
	}}
	for _, o := range l.opt.Apps {
		all[o.ID] = o
	}
	l.apps.Change(slices.Collect(maps.Keys(all)), nil, func(id string) *appLog { return l.newAppLog(all[id]) })
}

// openApps opens the logs of all apps in parallel. It fails if there are apps and none can be opened. An app that cannot be
// opened is reported by readiness, and tried again as long as the log is open.
func (l *Log) openApps(ctx context.Context) error {
	errs := make([]error, len(l.opt.Apps))
	retry := func(ctx context.Context) func(func(context.Context) error) error {
		return func(f func(context.Context) error) error { return attempt(ctx, f) }
	}
	var opening sync.WaitGroup
	for i, o := range l.opt.Apps {
		opening.Go(func() { errs[i] = l.openApp(ctx, l.apps.Of(o.ID), retry(ctx)) })
	}
	opening.Wait()
	if len(errs) > 0 && !slices.Contains(errs, nil) {
		return errors.Join(errs...)
	}
	for i, err := range errs {
		l.noteOpening(l.opt.Apps[i].ID, err)
	}
	// The log of gateways comes last, so that the apps get the available room first.
	ctx, cancel := context.WithTimeout(ctx, l.opt.StartTimeout/2)
	defer cancel()
	l.noteOpening(broker.GatewaysApp, l.openApp(ctx, l.apps.Of(broker.GatewaysApp), retry(ctx)))
	return nil
}

// noteOpening logs and reports an error of opening the log of an app.
func (l *Log) noteOpening(app string, err error) {
	if err != nil {
		l.opt.Logger.Error("the log of an app cannot be opened; the others go on, and it is tried again", "app", app, "error", err)
		l.appProblem(app, streamOfApp(app), err)
	}
}

// openApp provisions the stream of an app and, with Options.NewEpoch, begins a new epoch, exactly once. try may repeat what
// is idempotent.
func (l *Log) openApp(ctx context.Context, a *appLog, try func(func(context.Context) error) error) error {
	err := try(func(ctx context.Context) error { return l.refresh(ctx, a, "") })
	if err == nil && l.opt.NewEpoch {
		err = l.refresh(ctx, a, a.currentEpoch())
	}
	if err == nil {
		a.open.Store(true)
	}
	return err
}

// app returns the log of an app, or an error if it cannot be used.
func (l *Log) app(id string) (*appLog, error) { return l.apps.Get(id) }

// checkInterval is the time between two looks at a stream.
const checkInterval = 2 * time.Second

// superviseApp watches the stream of one app: it provisions a stream that vanished, notices a new epoch, and compares
// channels with the log. Each app has its own goroutine for that, because a stream that does not answer must not delay
// other apps.
func (l *Log) superviseApp(a *appLog, gone <-chan struct{}) {
	check, audit := time.NewTicker(checkInterval), time.NewTicker(l.opt.AuditInterval)
	defer check.Stop()
	defer audit.Stop()
	unsure := time.NewTimer(sureAge)
	defer unsure.Stop()
	if a.opt.ID == broker.GatewaysApp && a.open.Load() {
		l.greet(a)
	}
	l.countOverlooked(a) // notes where the stream ends
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-gone:
			return
		case <-a.wake:
			l.checkStream(a)
			l.compare(a, follow.Everyone, false)
		case <-a.look:
			l.checkStream(a)
			if l.restore(a) {
				unsure.Reset(sureAge)
			}
		case <-a.sure.begun:
			unsure.Reset(sureAge)
		case <-unsure.C:
			if l.settle(a) {
				unsure.Reset(sureAge)
			}
		case <-check.C:
			l.checkStream(a)
			if err := l.countUnnamed(a); err != nil {
				l.opt.Logger.Debug("looking for names that are no channels failed", "app", a.opt.ID, "error", err)
			}
			l.countOverlooked(a)
		case <-audit.C:
			// If the last message of a channel was lost, no later one reveals that. So silent channels are compared with
			// the log, a few at a time.
			l.compare(a, follow.Oldest, true)
		}
	}
}

// poke requests a comparison of the channels of an app with the log.
func (a *appLog) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// lookSoon requests a look at the stream before the next interval.
func (a *appLog) lookSoon() {
	select {
	case a.look <- struct{}{}:
	default:
	}
}

func (l *Log) checkStream(a *appLog) {
	ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
	defer cancel()
	var err error
	if a.open.Load() {
		err = l.refresh(ctx, a, "")
	} else if err = l.openApp(ctx, a, func(f func(context.Context) error) error { return f(ctx) }); err == nil {
		l.opt.Logger.Info("the log of an app is open now", "app", a.opt.ID)
	}
	if l.ctx.Err() == nil {
		l.appProblem(a.opt.ID, streamOfApp(a.opt.ID), err)
	}
	if err == nil && a.opt.ID == broker.GatewaysApp && a.storing.failing.Load() {
		l.greet(a)
		return
	}
	a.storing.expire(l, time.Now())
}

// greet tests whether orders to gateways can be stored, long before one is needed.
func (l *Log) greet(a *appLog) {
	ctx, cancel := context.WithTimeout(l.ctx, attemptTimeout)
	defer cancel()
	m, err := encode(publishSubject(l.opt.Prefix, a.opt.ID, ""), &broker.Event{Name: "sluice_internal:hello"}, nuid.Next())
	if err == nil {
		_, err = l.send.ask(ctx, m, m.Size(), a.stream)
	}
	if l.ctx.Err() == nil {
		a.storing.note(l, err)
	}
}

func streamOfApp(id string) string {
	if id == broker.GatewaysApp {
		return "log of orders to all gateways"
	}
	return "stream of the app " + id
}

// appOf returns the app whose subject a permissions violation names, empty if it names another subject.
func (l *Log) appOf(violation string) string {
	_, subject, _ := strings.Cut(violation, `"`)
	for id, a := range l.apps.All() {
		if strings.HasPrefix(subject, a.root) || strings.HasPrefix(subject, a.live) || strings.HasPrefix(subject, castApp(l.opt.Prefix, id)) {
			return id
		}
	}
	return ""
}
