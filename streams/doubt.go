package streams

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
)

// A live message names the previous message of its channel, so a missing one is noticed. There is an exception: if the
// channel is purged meanwhile, the next message names no previous one. As long as nothing has disturbed live delivery,
// the purged messages had been delivered. Otherwise that is unknown, and the subscribers are told of a gap.

// horizon remembers where a stream ended at earlier looks, by the value of appLog.upset at that time.
type horizon struct {
	mu rank.Mutex[rank.StreamsHorizon]
	// seen and before are the ends of the stream at two looks, at least horizonPause apart. A dead connection is
	// noticed within that time.
	seen, before uint64
	at           time.Time
	// calm has the ends up to which live delivery was undisturbed, by the value of appLog.upset.
	calm map[uint64]uint64
}

const (
	// horizonPause is the least time between two looks that count.
	horizonPause = 30 * time.Second
	// maxCalm bounds calm. Older entries are dropped.
	maxCalm = 1024
)

// look records the end of the stream.
func (h *horizon) look(end uint64, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.at) >= horizonPause || end < h.seen {
		h.before, h.seen, h.at = min(h.seen, end), end, now
	}
}

// upset records that live delivery was undisturbed until a moment ago. times is the value of appLog.upset until then.
func (h *horizon) upset(times uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.calm == nil {
		h.calm = map[uint64]uint64{}
	}
	h.calm[times] = h.before
	if times >= maxCalm {
		delete(h.calm, times-maxCalm) // the numbers are consecutive
	}
}

// calmUntil returns the end up to which delivery was undisturbed while appLog.upset was times, 0 if that is not known any
// more.
func (h *horizon) calmUntil(times uint64) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calm[times]
}

// disturbed records that live messages may have been missed.
func (a *appLog) disturbed() {
	a.known.horizon.upset(a.upset.Add(1) - 1)
}

// absence describes a channel that may miss messages, where the log does not have the message that was seen last, if any
// was seen.
type absence struct {
	seen mark
	at   uint64
	// upset is the value of appLog.upset when nothing was missing.
	upset uint64
	// next is the offset of the first message that has arrived after at, 0 for none.
	next uint64
}

// purged reports whether messages that had not been delivered may have been removed by a purge rather than by
// retention. calm is the end up to which delivery was undisturbed.
func (d absence) purged(info *jetstream.StreamInfo, calm uint64) bool {
	state, c := info.State, info.Config
	switch known := max(calm, d.at); {
	case state.LastSeq <= known:
		return false // nothing was stored since
	case d.next > 0 && d.next <= known+1:
		return false // nothing was stored between
	case state.FirstSeq > known+1:
		return true // a part of what was stored since is gone
	}
	// The stream reaches back to where delivery was undisturbed. So retention by bytes has removed nothing since, and
	// retention by number keeps the newest messages of a channel.
	young := c.MaxAge <= 0 || info.TimeStamp.Sub(d.seen.time) < c.MaxAge-c.MaxAge/8
	return d.seen.offset > 0 && young && state.FirstSeq <= d.seen.offset
}

// mayBePurged is [absence.purged] with the present state of the stream.
func (l *Log) mayBePurged(ctx context.Context, a *appLog, d absence) (bool, error) {
	info, err := l.streamInfo(ctx, a)
	if err != nil {
		return false, err
	}
	return d.purged(info, a.known.horizon.calmUntil(d.upset)), nil
}

// compareEmpty checks channels of which the log was found to have nothing. The keys of channels are their subjects.
func (l *Log) compareEmpty(ctx context.Context, a *appLog, channels map[string]*follower, upset uint64) error {
	var info *jetstream.StreamInfo
	awaited := false
	for subject, f := range channels {
		d, doubtful := f.doubtful(upset)
		if !doubtful {
			continue
		}
		if info == nil {
			var err error
			if info, err = l.streamInfo(ctx, a); err != nil {
				return err
			}
		}
		purged := d.purged(info, a.known.horizon.calmUntil(d.upset))
		if purged {
			// The replica that found nothing may have been behind.
			_, found, err := l.reader.leaderGet(ctx, a.stream, getRequest{LastFor: subject})
			if err != nil {
				return err
			}
			if found {
				continue
			}
		}
		awaited = !f.settleDoubt(d, purged, info.State.LastSeq, upset) || awaited
	}
	if awaited {
		return errAwaited
	}
	return nil
}

// errAwaited says that messages which the log does not have any more may still arrive live.
var errAwaited = errors.New("live messages may be on their way")

// absence returns the state of the channel for [absence.purged]. The caller holds the lock.
func (f *follower) absence() absence {
	next, _ := f.next(f.At().Offset)
	return absence{seen: f.track.seen, at: f.At().Offset, upset: f.sound, next: next.offset}
}

// doubtful reports whether the channel, of which the log has nothing, may miss messages.
func (f *follower) doubtful(upset uint64) (absence, bool) {
	f.Lock()
	defer f.Unlock()
	return f.absence(), f.Following() && f.sound < upset
}

// settleDoubt ends a doubt, unless a message has arrived meanwhile. It reports false if messages may still be on their
// way.
func (f *follower) settleDoubt(d absence, purged bool, end, upset uint64) (settled bool) {
	f.Lock()
	defer f.LeaveToOthers()
	if !f.Following() || f.At().Offset != d.at || f.sound != d.upset {
		return true
	}
	if purged && f.OnItsWay() {
		return false
	}
	f.sound = upset
	if purged {
		f.missing(max(end, f.At().Offset), broker.GapEvicted)
		f.track.forget()
	}
	return true
}
