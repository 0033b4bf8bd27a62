package streams

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
)

// A live message tells which one came before it, so one that did not come is noticed. It is
// not if somebody purges the channel meanwhile: then nothing came before the next one. As long
// as nothing has upset live delivery, what was purged had been delivered. Otherwise the
// subscribers are told, because nobody knows.

// horizon remembers how far a stream reached when it was looked at, by how often the app had
// been upset until then.
type horizon struct {
	mu rank.Mutex[rank.StreamsHorizon]
	// seen and before are the ends of the stream at two looks, horizonPause apart or more: that
	// a connection is dead is noticed that much later.
	seen, before uint64
	at           time.Time
	// calm are the ends up to which all was well, by the number of times.
	calm map[uint64]uint64
}

const (
	// horizonPause lies between two looks that count.
	horizonPause = 30 * time.Second
	// maxCalm bounds what is remembered. Of what is older nothing is known.
	maxCalm = 1024
)

// look notes how far the stream reaches.
func (h *horizon) look(end uint64, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.at) >= horizonPause || end < h.seen {
		h.before, h.seen, h.at = min(h.seen, end), end, now
	}
}

// upset notes that all was well until a moment ago, at which the app had been upset so often.
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

// calmUntil is the end up to which all was well when the app had been upset so often, 0 if
// that is not known any more.
func (h *horizon) calmUntil(times uint64) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calm[times]
}

// disturbed notes that live messages may have been missed.
func (a *appLog) disturbed() {
	a.known.horizon.upset(a.upset.Add(1) - 1)
}

// absence is a channel of which something may be missing and of which the log does not have
// what was seen last, if there was something.
type absence struct {
	seen mark
	at   uint64
	// upset is how often the app had been upset when nothing was missing.
	upset uint64
	// next is the offset of the first message that has come behind it, 0 for none.
	next uint64
}

// purged says whether messages of a channel may have been removed by somebody, not by
// retention, that had not been delivered. calm is the end up to which all was well.
func (d absence) purged(info *jetstream.StreamInfo, calm uint64) bool {
	state, c := info.State, info.Config
	switch known := max(calm, d.at); {
	case state.LastSeq <= known:
		return false // nothing came since
	case d.next > 0 && d.next <= known+1:
		return false // nothing came between
	case state.FirstSeq > known+1:
		return true // what came since is not all there
	}
	// The stream reaches back to where all was well. Retention by bytes has not come there,
	// and by number it leaves the newest ones of a channel.
	young := c.MaxAge <= 0 || info.TimeStamp.Sub(d.seen.time) < c.MaxAge-c.MaxAge/8
	return d.seen.offset > 0 && young && state.FirstSeq <= d.seen.offset
}

// mayBePurged asks the stream.
func (l *Log) mayBePurged(ctx context.Context, a *appLog, d absence) (bool, error) {
	info, err := l.streamInfo(ctx, a)
	if err != nil {
		return false, err
	}
	return d.purged(info, a.known.horizon.calmUntil(d.upset)), nil
}

// compareEmpty looks at channels of which the log was found to have nothing, by their
// subjects.
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
			// A replica may have been behind.
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

// errAwaited says that what the log does not have any more may be on its way.
var errAwaited = errors.New("live messages may be on their way")

// absence is what may be missing. The lock is held.
func (f *follower) absence() absence {
	next, _ := f.next(f.At().Offset)
	return absence{seen: f.track.seen, at: f.At().Offset, upset: f.sound, next: next.offset}
}

// doubtful says whether something of a channel may be missing of which the log has nothing.
func (f *follower) doubtful(upset uint64) (absence, bool) {
	f.Lock()
	defer f.Unlock()
	return f.absence(), f.Following() && f.sound < upset
}

// settleDoubt ends a doubt, unless something has come meanwhile. It says false if that may
// still be.
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
