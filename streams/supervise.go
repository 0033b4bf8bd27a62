package streams

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
	"github.com/sluicehq/sluice/kv"
)

// trigger requests a comparison of all followed channels with the log.
func (l *Log) trigger() {
	for _, a := range l.apps.All() {
		a.disturbed()
	}
	l.wake.Ring()
}

// lacks requests a comparison of the followed channels of one app with the log. Other apps are not affected. It does not
// wait, and repeated calls cost little.
func (l *Log) lacks(a *appLog) {
	a.disturbed()
	if !a.lacks.Swap(true) {
		l.lacking.Ring()
	}
}

// pokeLacking requests the comparisons for the apps that called lacks.
func (l *Log) pokeLacking() {
	l.stats.Scans.Add(1)
	for _, a := range l.apps.All() {
		if a.lacks.Swap(false) {
			a.poke()
		}
	}
}

// Prefixes of the subjects of NATS advisories about streams. The name of the stream follows.
const (
	leaderElected = "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED."
	streamUpdated = "$JS.EVENT.ADVISORY.STREAM.UPDATED."
)

// hear receives the advisories about edited streams and requests a look at each such stream at once. It never waits for a
// look, because events that are acknowledged meanwhile must not be vouched for.
func (l *Log) hear(edits <-chan *nats.Msg, shared chan<- struct{}) {
	for {
		select {
		case <-l.ctx.Done():
			return
		case m := <-edits:
			if !l.edited(strings.TrimPrefix(m.Subject, streamUpdated)) {
				continue
			}
			select {
			case shared <- struct{}{}:
			default:
			}
		}
	}
}

// edited requests a look at an edited stream of an app. It reports whether the stream is a bucket or a queue, which all
// apps share.
func (l *Log) edited(stream string) (shared bool) {
	for _, a := range l.apps.All() {
		if a.stream == stream {
			a.disturbed()
			a.lookSoon()
			a.poke()
			return false
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.buckets, func(o kv.BucketOptions) bool { return stream == "KV_"+o.Name }) ||
		slices.ContainsFunc(l.works, func(w *Work) bool { return stream == w.stream })
}

// supervise watches the feed and the buckets. After anything that may have lost live messages, it requests comparisons of
// all apps.
func (l *Log) supervise() {
	advisories := make(chan *nats.Msg, 64)
	edits, shared := make(chan *nats.Msg, 64), make(chan struct{}, 1)
	for subject, to := range map[string]chan *nats.Msg{leaderElected: advisories, streamUpdated: edits} {
		if sub, err := l.feed.stand(subject+">", to, nil); err == nil {
			defer sub.end()
		}
	}
	l.running.Go(func() { l.hear(edits, shared) })
	l.running.Go(l.superviseLinks)
	check := time.NewTicker(checkInterval)
	defer check.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case m := <-advisories:
			l.elected(strings.TrimPrefix(m.Subject, leaderElected))
			l.trigger()
		case <-shared:
			l.checkBuckets()
		case <-l.wake:
			if !l.wake.Gather(l.ctx) {
				return
			}
			l.stats.Scans.Add(1)
			for _, a := range l.apps.All() {
				a.poke()
			}
			l.checkBuckets()
			l.tables.Sound()
		case <-l.lacking:
			if !l.lacking.Gather(l.ctx) {
				return
			}
			l.pokeLacking()
		case <-l.writesLost:
			if !l.writesLost.Gather(l.ctx) {
				return
			}
			l.tables.Sound()
		case <-check.C:
			l.ahead.sweep()
			l.checkPayload(time.Now())
			l.checkBuckets()
		}
	}
}

// linksInterval is the time between two checks of the connections.
const linksInterval = time.Second

// superviseLinks checks the connections and their permissions. It sends no requests, so a connection that hangs does not
// delay it.
func (l *Log) superviseLinks() {
	check := time.NewTicker(linksInterval)
	defer check.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case now := <-check.C:
			l.checkLinks()
			l.checkRefusals(now)
		}
	}
}

// refresh provisions a stream and adopts its epoch. It begins a new epoch in two cases: lostEpoch, which is known to have
// lost messages, still is the present one; or the log is found to lack messages that it is known to have held.
func (l *Log) refresh(ctx context.Context, a *appLog, lostEpoch string) error {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	// Messages that are stored after this line may be missing in the answer.
	high, marks := a.known.high.Load(), a.known.pending()
	old := a.epoch.Load()
	info, final := l.provision(ctx, a, *a.limits.Load(), old == nil)
	if final != nil && (old == nil || !errors.Is(final, errFinal)) {
		return final
	}
	if err := l.rememberLeast(ctx, a, info); err != nil {
		return err
	}
	a.info.Store(info)
	leaderless := led(info)
	if leaderless == nil {
		a.known.horizon.look(info.State.LastSeq, time.Now())
	}
	// The stream of gateways may have another leader, with another clock, than the streams of events. The ages of events
	// are computed with the latter.
	if a.opt.ID != broker.GatewaysApp {
		l.clock.Set(info.TimeStamp, time.Now())
	}
	override, _, err := l.epochs.get(ctx, a.opt.ID)
	if err != nil {
		return fmt.Errorf("epoch of the app %s: %w", a.opt.ID, err)
	}
	if override, err = l.keepOverride(ctx, a, info, override); err != nil {
		return fmt.Errorf("epoch of the app %s: %w", a.opt.ID, err)
	}
	epoch := epochOf(info, override)
	if old != nil && *old == epoch {
		if info.State.LastSeq < high {
			marks = append(marks, mark{offset: high})
		}
		tailLost, err := l.anyLost(ctx, a, marks)
		if err != nil {
			return fmt.Errorf("comparing the log of the app %s with what was seen of it: %w", a.opt.ID, err)
		}
		if tailLost {
			lostEpoch = epoch
		}
		a.known.settled(marks)
	}
	// An epoch that has ended comes back if the bucket of epochs was restored to an older state.
	if lostEpoch == epoch || a.ended[epoch] {
		if override, err = l.epochs.renew(ctx, a.opt.ID, override); err != nil {
			return fmt.Errorf("epoch of the app %s: %w", a.opt.ID, err)
		}
		epoch = epochOf(info, override)
	}
	a.copies.Store(int64(info.Config.Replicas))
	a.kept.Store(int64(copiesOf(info)))
	l.appNote(a.opt.ID, "copies of the stream "+a.stream, fewCopies(info))
	a.override = override
	if old != nil && *old != epoch && leaderless != nil {
		return leaderless // it is not known where the new epoch begins
	}
	l.adopt(a, epoch, info)
	return final
}

// keepOverride writes the override of the present epoch again if the bucket has lost it. Whether the stream has lost
// messages as well is checked separately.
func (l *Log) keepOverride(ctx context.Context, a *appLog, info *jetstream.StreamInfo, override string) (string, error) {
	if override != "" || a.override == "" || !info.Created.Equal(a.created) {
		return override, nil
	}
	_, err := l.epochs.store.Create(ctx, name.Key(a.opt.ID), []byte(a.override))
	if errors.Is(err, kv.ErrConflict) {
		override, _, err = l.epochs.get(ctx, a.opt.ID)
		return override, err
	}
	return a.override, err
}

// adopt sets the epoch of an app's log. The caller holds the turn.
func (l *Log) adopt(a *appLog, epoch string, info *jetstream.StreamInfo) {
	same := info.Created.Equal(a.created)
	a.created = info.Created
	old := a.epoch.Swap(&epoch)
	if old == nil || *old == epoch {
		return
	}
	l.opt.Logger.Warn("the log of an app began a new life", "app", a.opt.ID, "epoch", epoch, "before", *old)
	a.ended[*old] = true
	begin := broker.Position{Epoch: epoch}
	if same {
		// The stream is the same, without the lost messages. Those that it has were delivered already, or cannot be
		// told from delivered ones.
		begin.Offset = info.State.LastSeq
	}
	for _, f := range l.followers(a) {
		f.newEpoch(begin, info.TimeStamp)
	}
	a.known.restart(begin.Offset)
}

// NotRetained has the errors of the apps whose new limits were refused, by app id. The other apps have theirs.
type NotRetained map[string]error

func (n NotRetained) Error() string {
	texts := make([]string, 0, len(n))
	for _, id := range slices.Sorted(maps.Keys(n)) {
		texts = append(texts, fmt.Sprintf("app %s: %v", id, n[id]))
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the errors of all these apps.
func (n NotRetained) Unwrap() []error { return slices.Collect(maps.Values(n)) }

// Retain changes the limits and secrets of apps while the log is open. Apps that are not listed stay as they are. If NATS
// refuses the limits of some apps, the others are changed nevertheless: the error is then a [NotRetained], and readiness
// names these apps until their limits are accepted. After any other error nothing was changed.
func (l *Log) Retain(ctx context.Context, apps []AppOptions) error {
	opt := Options{Apps: slices.Clone(apps), Replicas: l.opt.Replicas}
	if err := opt.setDefaults(); err != nil {
		return fmt.Errorf("streams: %w", err)
	}
	for _, want := range opt.Apps {
		if _, known := l.apps.Find(want.ID); !known {
			return fmt.Errorf("%w: %.100q", broker.ErrUnknownApp, want.ID)
		}
	}
	failed := NotRetained{}
	for _, want := range opt.Apps {
		a, known := l.apps.Find(want.ID)
		if !known {
			continue // the app was removed meanwhile
		}
		a.credentials.Store(newCredentials(want.ID, want.Secrets))
		if !a.open.Load() {
			a.limits.Store(&want)
			continue
		}
		err := l.retain(ctx, a, &want)
		if err != nil {
			failed[want.ID] = unavailable("changing what is kept", err)
		}
		l.appNote(want.ID, "retention of the app "+want.ID, err)
	}
	if len(failed) > 0 {
		return failed
	}
	return nil
}

// retain changes the limits of an app whose stream is open.
func (l *Log) retain(ctx context.Context, a *appLog, want *AppOptions) error {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	info, err := l.provision(ctx, a, *want, true)
	if err != nil {
		return err
	}
	a.limits.Store(want)
	a.copies.Store(int64(info.Config.Replicas))
	a.kept.Store(int64(copiesOf(info)))
	return nil
}

// durability returns the durability of the app with the fewest copies. It uses the smaller of the configured and the
// existing number.
func (l *Log) durability() (string, broker.Level) {
	copies := 0
	for id, a := range l.apps.All() {
		if id == broker.GatewaysApp {
			continue
		}
		of := a.limits.Load().Replicas
		if has := a.kept.Load(); has > 0 {
			of = min(of, int(has))
		}
		if copies == 0 || of < copies {
			copies = of
		}
	}
	return promise(copies, l.opt.Synchronous)
}

// promise describes what an acknowledged event survives with a number of copies. Two copies are both needed for a quorum:
// acknowledged events are safe, but nothing can be published while one is away.
func promise(copies int, synchronous bool) (string, broker.Level) {
	switch {
	case copies > 2:
		return fmt.Sprintf("an acknowledged event is on a quorum of %d servers; killed processes, crashed machines and lost disks "+
			"lose nothing as long as a majority is left", copies), broker.LevelReplicated
	case copies == 2:
		return "an acknowledged event is on both of 2 servers; a killed process, a crashed machine or a lost disk of one of them " +
			"loses nothing, but nothing can be published until both are there again", broker.LevelReplicated
	case synchronous:
		return "an acknowledged event is on the disk of one NATS server; a killed process or a crashed machine loses nothing, " +
			"a lost disk everything", broker.LevelMachine
	}
	return "an acknowledged event is with the operating system of one NATS server; a killed process loses nothing, " +
		"a crashed machine what was not synchronised yet, a lost disk everything", broker.LevelProcess
}
