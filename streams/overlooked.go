package streams

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/name"
)

const (
	// overlookedMost is the number of newest events of an app that one look reads at most.
	overlookedMost = 64
	// overlookedPause is the least time between two looks at the same app.
	overlookedPause = 4 * time.Second
	// overlookedEach is the least time between two looks at any app, so that a thousand apps cost no more
	// reading than ten.
	overlookedEach = time.Second
)

// overlooked finds events of an app that cannot be delivered, in channels that nobody follows here. Followers count
// such events of their own channels. Nobody reads the other channels, so without this a publisher that writes to
// NATS directly would get no sign that its events are wrong. All fields but given belong to the goroutine that
// supervises the app.
type overlooked struct {
	begun bool
	// created is when the stream was created. Another one begins with sequence 1 again.
	created time.Time
	looked  time.Time
	// last is the sequence of the newest message that was read or passed over.
	last uint64
	// given holds the offsets that followers have already counted, each at index offset % len. It prevents a
	// second count after the last subscriber has left.
	given [overlookedMost]atomic.Uint64
}

// due returns the sequence to read from, or 0 if no look is due. The first call only notes where the stream ends:
// older events were stored before this gateway began.
func (o *overlooked) due(info *jetstream.StreamInfo, now time.Time) uint64 {
	newest := info.State.LastSeq
	switch {
	case !o.begun, !info.Created.Equal(o.created):
		o.begun, o.created, o.last = true, info.Created, newest
		return 0
	case newest <= o.last, now.Sub(o.looked) < overlookedPause:
		return 0
	case newest-o.last > overlookedMost:
		return newest - overlookedMost + 1
	}
	return o.last + 1
}

// countOverlooked reads the newest events of an app and counts those that cannot be delivered and that no follower
// here has counted. If more than [overlookedMost] are new, it skips the oldest of them.
func (l *Log) countOverlooked(a *appLog) {
	now, info, o := time.Now(), a.info.Load(), &a.overlooked
	if info == nil || a.opt.ID == broker.GatewaysApp {
		return
	}
	from := o.due(info, now)
	if from == 0 || !l.mayOverlook(now) {
		return
	}
	o.looked = now
	ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
	defer cancel()
	epoch := a.currentEpoch()
	got, err := l.reader.page(ctx, a.stream, a.root+">", from, overlookedMost)
	if err != nil {
		l.opt.Logger.Debug("looking for events that cannot be delivered failed", "app", a.opt.ID, "error", err)
		return
	}
	// A page of large events ends early, and events may have come since the stream told its end. The next look
	// continues behind the page.
	if o.last = info.State.LastSeq; len(got) > 0 {
		o.last = got[len(got)-1].offset
	}
	for i := range got {
		m := &got[i]
		token := strings.TrimPrefix(m.subject, a.root)
		if o.given[m.offset%overlookedMost].Load() == m.offset || l.notAChannel(a, token) != nil || l.gave(a.live+token, m.offset) {
			continue
		}
		if p := l.publication(a, m, epoch); p.Skipped != "" {
			channel, _ := name.Decode(token)
			l.skip(a, channel, p)
		}
	}
}

// mayOverlook reports whether a look is allowed now, and if so begins the pause until the next one.
func (l *Log) mayOverlook(now time.Time) bool {
	before := l.overlooking.Load()
	return now.UnixNano()-before >= int64(overlookedEach) && l.overlooking.CompareAndSwap(before, now.UnixNano())
}

// gave reports whether a follower of the channel counts the message at offset. key is the live subject.
func (l *Log) gave(key string, offset uint64) bool {
	found := l.follow.Lookup(key)
	if found == nil {
		return false
	}
	f := found.Line().(*follower)
	f.Lock()
	defer f.Unlock()
	return f.Begun() && f.origin < offset
}

// skip counts an event that cannot be delivered and logs the reason. A publisher could produce any number of such
// events, so the log line is rate-limited.
func (l *Log) skip(a *appLog, channel string, p *broker.Publication) {
	l.stats.Skipped.Add(1)
	l.skips.Warn(l.opt.Logger, a.opt.ID, "events that cannot be delivered were skipped", "app", a.opt.ID,
		"channel", channel, "epoch", p.Epoch, "offset", p.Offset, "reason", p.Skipped)
}
