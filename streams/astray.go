package streams

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
)

// restoreTimeout bounds one attempt to store an event again. The same goroutine puts the settings of the stream back,
// which may have been edited once more. While it waits for an acknowledgement, they stay as they are.
const restoreTimeout = attemptTimeout + time.Second

// restore stores again the acknowledged events that an edited stream has misplaced. It reports whether some are left for
// a later attempt.
func (l *Log) restore(a *appLog) (left bool) {
	restored, lost, unknown := 0, 0, 0
	some := a.sure.take()
	for i, p := range some {
		where := l.putInPlace(a, p)
		if where == unread && l.patient(p) && l.ctx.Err() == nil {
			a.sure.leave(some[i:])
			left = true
			break
		}
		switch where {
		case elsewhere:
			restored++
		case nowhere, gone:
			lost++
		case unread:
			unknown++
		}
	}
	l.tellRestored(a, restored, lost)
	l.tellUnknown(a, unknown)
	return left
}

// patient reports whether to keep trying with an event. Time without a connection does not count.
func (l *Log) patient(p *parcel) bool {
	now := time.Now()
	if p.until.IsZero() || !l.read.connected() {
		p.until = now.Add(l.opt.RepairTimeout)
	}
	return now.Before(p.until)
}

// tellRestored counts and logs what became of misplaced events.
func (l *Log) tellRestored(a *appLog, restored, lost int) {
	l.upkeep.restored.Add(uint64(restored))
	l.upkeep.misplaced.Add(uint64(lost))
	if restored+lost > 0 {
		l.astray.Error(l.opt.Logger, a.opt.ID, "somebody edited a stream so that acknowledged events were not stored in their channels",
			"stream", a.stream, "stored again", restored, "not in the log", lost)
	}
}

// tellUnknown counts acknowledged events that could not be looked up in time as misplaced, because they may be.
func (l *Log) tellUnknown(a *appLog, n int) {
	l.upkeep.misplaced.Add(uint64(n))
	if n > 0 {
		l.astray.Error(l.opt.Logger, a.opt.ID, "the log could not be asked where acknowledged events are: they may not be in their channels",
			"stream", a.stream, "events", n)
	}
}

// putInPlace reports where an acknowledged event was found. If it was elsewhere, it has been stored again. The result is
// unread if the event could not be looked up or stored.
func (l *Log) putInPlace(a *appLog, p *parcel) whereabouts {
	if !p.astray {
		// An event that is nowhere may have been delivered. Storing it again would deliver it twice.
		if where := l.whereIs(l.ctx, a, p); where != elsewhere {
			return where
		}
		l.readdress(a, p)
		p.astray = true
	}
	ctx, cancel := context.WithTimeout(l.ctx, restoreTimeout)
	defer cancel()
	if _, err := l.place(ctx, a, p); err != nil {
		return unread
	}
	p.astray, p.until = false, time.Time{}
	return elsewhere
}

// errMisplaced says that the log does not store events in their channels.
var errMisplaced = errors.New("NATS acknowledges events and does not store them in their channels")

// errUnsure says that the log cannot be read and that too many events already wait to be looked up.
var errUnsure = errors.New("NATS acknowledges events, and the log cannot be read to see where they are")

// place publishes a message until it is acknowledged and, as far as that can be known, stored in its channel.
func (l *Log) place(ctx context.Context, a *appLog, p *parcel) (broker.Receipt, error) {
	for try := 1; ; {
		receipt, err := l.publishAcked(ctx, a, p)
		if err != nil {
			return receipt, err
		}
		p.note(receipt.Offset)
		where, claimed := inPlace, false
		if receipt.Duplicate {
			where, claimed, err = l.duplicated(ctx, a, p)
		} else {
			where = l.assured(ctx, a, p)
		}
		switch {
		case err != nil:
			return receipt, err
		case claimed:
			l.stats.Unproven.Add(1)
			l.readdress(a, p)
			continue
		case where == inPlace:
			return receipt, nil
		case where == gone:
			l.tellRestored(a, 0, 1)
			return receipt, nil
		case where == unread:
			return broker.Receipt{}, unavailable("publishing", errUnsure)
		case try == sureTries:
			a.storing.note(l, errMisplaced)
			return broker.Receipt{}, unavailable("publishing", errMisplaced)
		}
		try++
		if err = l.refresh(ctx, a, ""); err != nil {
			return broker.Receipt{}, unavailable("putting back the settings of the stream "+a.stream, err)
		}
		l.upkeep.restored.Add(1)
		l.readdress(a, p)
	}
}

// duplicated handles an acknowledgement which says that the id of p is already in the log. It returns where the stored
// message is: an earlier attempt, whose acknowledgement was lost, may have been misplaced. claimed says that another
// publisher used the id.
func (l *Log) duplicated(ctx context.Context, a *appLog, p *parcel) (where whereabouts, claimed bool, err error) {
	if p.key == "" {
		if where = l.whereIs(ctx, a, p); where == unread && a.sure.keep(p) {
			where = inPlace
		}
		return where, false, nil
	}
	if a.credentials.Load() == nil {
		return inPlace, false, nil // only gateways write to this log
	}
	for {
		before, found, err := l.reader.ask(ctx, a.stream, getRequest{Seq: p.offset})
		if err == nil {
			if !found && p.retried && !a.known.delivered(p.offset) {
				return gone, false, nil
			}
			where, claimed = l.storedBefore(a, p.m, before, found)
			return where, claimed, nil
		}
		select {
		case <-ctx.Done():
			return unread, false, err
		case <-time.After(attemptPause):
		}
	}
}

// storedBefore decides whether before, the stored message with the id of m, comes from a gateway, and whether it is in
// the channel of m. Other publishers can learn an id, because the log reports the id of its last message, and can use it
// once the log has forgotten it. If the stored message is gone already, its origin is unknown and it counts as ours:
// busy channels lose their messages within seconds.
func (l *Log) storedBefore(a *appLog, m *nats.Msg, before stored, found bool) (where whereabouts, claimed bool) {
	switch {
	case !found:
		return inPlace, false
	case last(before.header, nats.MsgIdHdr) != last(m.Header, nats.MsgIdHdr):
		return inPlace, true
	case l.believes(a, before.subject, before.header, before.data):
		return inPlace, false
	case l.believes(a, m.Subject, before.header, before.data):
		return elsewhere, false
	}
	return inPlace, true
}

// maxClaimed is the number of ids that are derived for one event. All gateways derive the same ones, so a repeated
// publish finds the event that was stored.
const maxClaimed = 8

// readdress gives a message another deduplication id, because the server would take the present one for a duplicate.
// The ids of an event with a key are derived from the key, in a fixed order.
func (l *Log) readdress(a *appLog, p *parcel) {
	p.claimed++
	id := rand.Text()
	if c := a.credentials.Load(); c != nil && p.key != "" && p.claimed <= maxClaimed {
		id = c.id(fmt.Sprintf("%s\x00%d", p.key, p.claimed))
	}
	p.m = &nats.Msg{Subject: p.m.Subject, Header: maps.Clone(p.m.Header), Data: p.m.Data}
	p.m.Header[nats.MsgIdHdr] = []string{id}
	l.proverOf(a, p.m.Subject).sign(p.m)
	p.size = p.m.Size()
}
