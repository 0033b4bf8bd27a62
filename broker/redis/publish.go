package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
)

const (
	// attemptTimeout bounds one try of a publish.
	attemptTimeout = 3 * time.Second
	// countLife is the silence after which the counts of a channel start again.
	countLife = 150 * time.Second
)

// publishArgs is the number of arguments of the publish script before those of events, and
// for each of them.
const publishArgs, perEvent = 7, 4

// place names a channel.
type place struct{ app, channel string }

// Publish implements [broker.Publisher]. The events of one channel are stored by one
// script, those of different channels by several under way at the same time.
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
	for _, e := range events {
		if len(e.Event.Data) > l.opt.MaxData {
			return nil, fmt.Errorf("%w: data has %d bytes, the limit is %d", broker.ErrTooLarge, len(e.Event.Data), l.opt.MaxData)
		}
		if len(e.Event.Tags) > maxTags {
			return nil, fmt.Errorf("%w: %d tags, the limit is %d", broker.ErrTooLarge, len(e.Event.Tags), maxTags)
		}
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
		l.stats.failures.Add(1)
		return nil, err
	}
	return receipts, nil
}

func oneChannel(events []broker.Outgoing) bool {
	for i := range events {
		if events[i].Channel != events[0].Channel {
			return false
		}
	}
	return true
}

// maxParts bounds the channels of one call that are written at a time.
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

// publishTo stores the events with the given indices, all for nil, which go to one
// channel.
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
	verb := "PUBLISH"
	if l.opt.Cluster {
		verb = "SPUBLISH"
	}
	most := 1
	keys := append(make([]string, 0, 3+n), k.stream, k.meta, k.counts)
	args := append(make([]string, 0, publishArgs+perEvent*n), k.live, verb, strconv.FormatInt(a.opt.MaxMessages, 10),
		strconv.FormatInt(a.opt.MaxAge.Milliseconds(), 10), placeLife(a), strconv.FormatInt(countLife.Milliseconds(), 10), "")
	for i := range n {
		e := &events[index(i)]
		id, root := e.Event.DedupID, l.keys.dedup(a.opt.ID)
		if id == "" || l.opt.Cluster {
			root = k.dedup
		}
		window := l.opt.DedupWindow
		if id == "" {
			// For our own retries, which end with the time for a publish.
			id, window = "-"+rand.Text(), min(window, 2*l.opt.PublishTimeout)
		} else {
			id = digest(id)
		}
		keys = append(keys, root+id)
		args = append(args, rueidis.BinaryString(encode(e.Event)), strconv.Itoa(e.Count.Interval), e.Count.Value,
			strconv.FormatInt(window.Milliseconds(), 10))
		most = max(most, e.Count.MaxValues)
	}
	args[6] = strconv.Itoa(most)
	if l.opt.Cluster {
		return l.publishOnCluster(ctx, a, events, receipts, index, n, channel, keys, args)
	}
	got, err := l.run(ctx, keys, args)
	if err != nil {
		return err
	}
	return l.settle(a, channel, got, func(i int) *broker.Receipt { return &receipts[index(i)] })
}

// settle reads the answer of the publish script.
func (l *Log) settle(a *appLog, channel string, got []rueidis.RedisMessage, receipt func(i int) *broker.Receipt) error {
	epoch := a.currentEpoch()
	for i := 0; i+1 < len(got); i += 2 {
		offset, err := got[i].AsUint64()
		if err != nil {
			return unavailable("publishing", err)
		}
		duplicate, err := got[i+1].AsInt64()
		if err != nil {
			return unavailable("publishing", err)
		}
		*receipt(i / 2) = broker.Receipt{Position: broker.Position{Epoch: epoch, Offset: offset}, Duplicate: duplicate == 1}
		l.stats.published.Add(1)
		if duplicate == 1 {
			l.stats.duplicates.Add(1)
			continue
		}
		l.recent.note(place{a.opt.ID, channel}, offset)
	}
	return nil
}

// publishOnCluster looks up the ids that publishers chose before and after the script,
// because they belong to the app and the script reaches the channel's slot only. Two
// publishes of one id to different channels at the same time are both stored.
func (l *Log) publishOnCluster(ctx context.Context, a *appLog, events []broker.Outgoing, receipts []broker.Receipt,
	index func(int) int, n int, channel string, keys, args []string) error {
	var left []int
	leftKeys, leftArgs := keys[:3:3], args[:publishArgs:publishArgs]
	for i := range n {
		r := index(i)
		if id := events[r].Event.DedupID; id != "" {
			offset, err := l.pub.Do(ctx, l.pub.B().Get().Key(l.keys.dedup(a.opt.ID)+digest(id)).Build()).AsUint64()
			if err == nil {
				receipts[r] = broker.Receipt{Position: broker.Position{Epoch: a.currentEpoch(), Offset: offset}, Duplicate: true}
				l.stats.published.Add(1)
				l.stats.duplicates.Add(1)
				continue
			}
			if !rueidis.IsRedisNil(err) {
				return unavailable("publishing", err)
			}
		}
		left = append(left, r)
		leftKeys = append(leftKeys, keys[3+i])
		leftArgs = append(leftArgs, args[publishArgs+perEvent*i:publishArgs+perEvent*(i+1)]...)
	}
	if len(left) == 0 {
		return nil
	}
	got, err := l.run(ctx, leftKeys, leftArgs)
	if err != nil {
		return err
	}
	if err := l.settle(a, channel, got, func(i int) *broker.Receipt { return &receipts[left[i]] }); err != nil {
		return err
	}
	for _, r := range left {
		if id := events[r].Event.DedupID; id != "" {
			// What is stored is stored: a publish does not fail for this.
			err := l.pub.Do(ctx, l.pub.B().Set().Key(l.keys.dedup(a.opt.ID)+digest(id)).
				Value(strconv.FormatUint(receipts[r].Offset, 10)).Nx().Px(l.opt.DedupWindow).Build()).Error()
			if err != nil && !rueidis.IsRedisNil(err) {
				l.opt.Logger.Warn("an id for duplicates could not be noted", "app", a.opt.ID, "error", err)
			}
		}
	}
	return nil
}

// run executes the publish script, again and again with the same ids until the
// deadline.
func (l *Log) run(ctx context.Context, keys, args []string) ([]rueidis.RedisMessage, error) {
	for attempt := 0; ; attempt++ {
		if attempt > 0 {
			l.stats.retries.Add(1)
		}
		try, cancel := context.WithTimeout(ctx, attemptTimeout)
		got, err := publishScript.Exec(try, l.pub, keys, args).ToArray()
		cancel()
		if err == nil {
			if attempt > 0 {
				l.problem(storing, nil)
			}
			return got, nil
		}
		if l.ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", broker.ErrUnavailable, broker.ErrClosed)
		}
		if attempt > 0 {
			l.problem(storing, err)
			// All keys are in the slot of the channel.
			probe := keys[0] + ":probe"
			l.probe.Store(&probe)
		}
		select {
		case <-ctx.Done():
			if context.Cause(ctx) == context.Canceled {
				return nil, ctx.Err()
			}
			return nil, unavailable("publishing", err)
		case <-time.After(min(time.Duration(attempt+1)*50*time.Millisecond, 500*time.Millisecond)):
		}
	}
}

// storing is the problem of publishes that fail.
const storing = "storing events"

// tryStoring finds out whether a place that could not be written to can be now. Nobody
// else would when those who publish stay away from a gateway that is not ready.
func (l *Log) tryStoring() {
	key := l.probe.Load()
	if key == nil {
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, attemptTimeout)
	defer cancel()
	if l.pub.Do(ctx, l.pub.B().Set().Key(*key).Value("").Px(time.Second).Build()).Error() == nil && l.probe.CompareAndSwap(key, nil) {
		l.problem(storing, nil)
	}
}

// acknowledged remembers for which channels this process said lately that an event is
// stored, so that it can find out whether a server lost it.
type acknowledged struct {
	mu        sync.Mutex
	positions map[place]uint64
}

// maxAcknowledged bounds the channels that are remembered; beyond it any one is
// forgotten.
const maxAcknowledged = 16384

func (r *acknowledged) note(p place, offset uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.positions) >= maxAcknowledged {
		if _, known := r.positions[p]; !known {
			for other := range r.positions {
				delete(r.positions, other)
				break
			}
		}
	}
	r.positions[p] = max(r.positions[p], offset)
}

// all returns what is remembered.
func (r *acknowledged) all() map[place]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.positions)
}

// forget forgets the channels of an app.
func (r *acknowledged) forget(app string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.positions, func(p place, _ uint64) bool { return p.app == app })
}
