package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
)

const (
	// attemptTimeout bounds one try of a command.
	attemptTimeout = 3 * time.Second
	// countLife is the silence after which the counts of a channel are reset.
	countLife = 150 * time.Second
)

// publishArgs is the number of arguments of the publish script before those of the events, perEvent the
// number for each event.
const publishArgs, perEvent = 7, 4

// place identifies a channel of an app.
type place struct{ app, channel string }

// Publish implements [broker.Publisher]. The events of one channel are stored by one script; scripts for
// different channels run concurrently.
func (l *Log) Publish(ctx context.Context, app string, events ...broker.Outgoing) ([]broker.Receipt, error) {
	a, err := l.app(app)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if l.ctx.Err() != nil {
		return nil, broker.ErrClosed
	}
	if err := l.checkSizes(events); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.opt.PublishTimeout)
	defer cancel()
	receipts := make([]broker.Receipt, len(events))
	if one := oneChannel(events); one {
		err = l.publishTo(ctx, a, events, receipts, nil)
	} else {
		err = l.publishParts(ctx, a, events, receipts)
	}
	if err != nil {
		l.stats.Failures.Add(1)
		return nil, err
	}
	return receipts, nil
}

// announce returns the command that announces stored events.
func (l *Log) announce() string {
	if l.opt.Cluster {
		return "SPUBLISH"
	}
	return "PUBLISH"
}

func oneChannel(events []broker.Outgoing) bool {
	for i := range events {
		if events[i].Channel != events[0].Channel {
			return false
		}
	}
	return true
}

// maxParts bounds the channels of one call that are written concurrently.
const maxParts = 64

func (l *Log) publishParts(ctx context.Context, a *appLog, events []broker.Outgoing, receipts []broker.Receipt) error {
	parts := map[string][]int{}
	var order []string
	for i, e := range events {
		if parts[e.Channel] == nil {
			order = append(order, e.Channel)
		}
		parts[e.Channel] = append(parts[e.Channel], i)
	}
	errs := make([]error, len(order))
	slots := make(chan struct{}, maxParts)
	var wg sync.WaitGroup
	for i, channel := range order {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = l.publishTo(ctx, a, events, receipts, parts[channel])
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// publishTo stores the events with the given indices, or all for nil. They go to one channel.
func (l *Log) publishTo(ctx context.Context, a *appLog, events []broker.Outgoing, receipts []broker.Receipt, at []int) error {
	n := len(at)
	if at == nil {
		n = len(events)
	}
	if n == 0 {
		return nil
	}
	index := func(i int) int {
		if at == nil {
			return i
		}
		return at[i]
	}
	channel := events[index(0)].Channel
	k := l.keys.channel(a.opt.ID, channel)
	most := 1
	keys := append(make([]string, 0, 3+n), k.stream, k.meta, k.counts)
	args := append(make([]string, 0, publishArgs+perEvent*n), k.live, l.announce(), strconv.FormatInt(a.limits.Load().MaxMessages, 10),
		milliseconds(a.limits.Load().MaxAge), milliseconds(placeLife(a)), milliseconds(countLife), "")
	for i := range n {
		e := &events[index(i)]
		id, root := e.Event.DedupID, l.keys.dedup(a.opt.ID)
		if id == "" || l.opt.Cluster {
			root = k.dedup
		}
		// The window must last for this process's own retries, which end with PublishTimeout.
		window := 2 * l.opt.PublishTimeout
		if id == "" {
			id = "-" + rand.Text()
		} else {
			id, window = digest(id), max(window, l.opt.DedupWindow)
		}
		keys = append(keys, root+id)
		args = append(args, rueidis.BinaryString(encode(e.Event)), strconv.Itoa(e.Count.Interval), e.Count.Value,
			milliseconds(window))
		most = max(most, e.Count.MaxValues)
	}
	args[6] = strconv.Itoa(most)
	if l.opt.Cluster {
		return l.publishOnCluster(ctx, a, events, receipts, index, n, channel, keys, args)
	}
	got, err := l.run(ctx, a, keys, args)
	if err != nil {
		return err
	}
	return l.settle(a, channel, got, events, receipts, n, index)
}

// settle parses the answer of the publish script for n events.
func (l *Log) settle(a *appLog, channel string, got []rueidis.RedisMessage, events []broker.Outgoing, receipts []broker.Receipt,
	n int, index func(int) int) error {
	if len(got) != 2*n {
		return unavailable("publishing", errNotOurs)
	}
	epoch := a.currentEpoch()
	for i := range n {
		offset, err := got[2*i].AsUint64()
		if err != nil {
			return unavailable("publishing", err)
		}
		duplicate, err := got[2*i+1].AsInt64()
		if err != nil {
			return unavailable("publishing", err)
		}
		// If the id was generated here, an earlier try whose answer was lost stored the event.
		again := duplicate == 1 && events[index(i)].Event.DedupID != ""
		receipts[index(i)] = broker.Receipt{Position: broker.Position{Epoch: epoch, Offset: offset}, Duplicate: again}
		l.stats.Published.Add(1)
		if again {
			l.stats.Duplicates.Add(1)
			continue // the position may belong to another channel
		}
		l.recent.note(place{a.opt.ID, channel}, offset)
	}
	return nil
}

// run executes the publish script.
func (l *Log) run(ctx context.Context, a *appLog, keys, args []string) (got []rueidis.RedisMessage, err error) {
	err = l.repeat(ctx, a, keys[0], func(ctx context.Context) (err error) {
		got, err = publishScript.Exec(ctx, l.pub, keys, args).ToArray()
		return err
	})
	return got, err
}

// repeat runs a step of a publish until it succeeds, a lasting error occurs, or ctx ends. The step must be
// one that may be repeated. key is in the slot that the step needs.
func (l *Log) repeat(ctx context.Context, a *appLog, key string, do func(ctx context.Context) error) error {
	var before error
	for attempt := 0; ; attempt++ {
		if attempt > 0 {
			l.stats.Retries.Add(1)
		}
		try, cancel := context.WithTimeout(ctx, attemptTimeout)
		err := do(try)
		cancel()
		if err == nil {
			if attempt > 0 {
				l.problem(storing, nil)
			}
			if a.spoilt.CompareAndSwap(true, false) {
				l.appProblem(a.opt.ID, storing+" of the app "+a.opt.ID, nil)
			}
			return nil
		}
		if l.ctx.Err() != nil {
			return fmt.Errorf("%w: %w", broker.ErrUnavailable, broker.ErrClosed)
		}
		if ctx.Err() != nil && before != nil {
			err = before // the last try was cut short, so its error means nothing
		}
		before = err
		l.leaveReplica(ctx, err)
		if refusedFor(err) != "" {
			l.unstorable(key, err)
			return failed("publishing", err)
		}
		switch {
		case attempt == 0:
		case strings.Contains(err.Error(), "WRONGTYPE"):
			// A foreign value is stored at one of the app's keys. That is no problem of the server.
			a.spoilt.Store(true)
			l.appProblem(a.opt.ID, storing+" of the app "+a.opt.ID, err)
		default:
			l.unstorable(key, err)
		}
		select {
		case <-ctx.Done():
			if context.Cause(ctx) == context.Canceled {
				return ctx.Err()
			}
			return unavailable("publishing", err)
		case <-time.After(min(time.Duration(attempt+1)*50*time.Millisecond, 500*time.Millisecond)):
		}
	}
}

// storing is the problem of failing publishes.
const storing = "storing events"

// unstorable records that an event could not be stored beside key.
func (l *Log) unstorable(key string, err error) {
	l.problem(storing, err)
	probe := key + ":probe"
	l.probe.Store(&probe)
}

// tryStoring checks whether a key that could not be written can be written now. Nothing else would, because
// publishers avoid a gateway that is not ready.
func (l *Log) tryStoring() {
	key := l.probe.Load()
	if key == nil {
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, attemptTimeout)
	defer cancel()
	// If memory is full there is room for small values now and then, so a value of the largest event size is
	// written twice.
	value := strings.Repeat("x", min(l.maxData(), maxProbe))
	defer l.probes.Add(1)
	write := func() error {
		return l.pub.Do(ctx, l.pub.B().Set().Key(*key).Value(value).Px(time.Second).Build()).Error()
	}
	// Scripts need permissions of their own.
	script := func() error {
		return touchScript.Exec(ctx, l.pub, []string{*key + ":script"}, l.probeArgs(*key)).Error()
	}
	for _, try := range []func() error{write, write, script} {
		if err := try(); err != nil {
			l.leaveReplica(ctx, err)
			if refusedFor(err) != "" {
				l.problem(storing, err)
			}
			return
		}
	}
	if l.probe.CompareAndSwap(key, nil) {
		l.problem(storing, nil)
	}
}

// maxProbe bounds the size in bytes of the value that is written as a probe.
const maxProbe = 1 << 20
