package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/sluicehq/sluice/broker"
)

// scanQuery selects entries. Zero bounds are none.
type scanQuery struct {
	from, to     uint64
	since, until time.Time
	most         int
	newestFirst  bool
	// bytes ends a page that has so many; 0 does not.
	bytes int
	// places leaves out what the entries hold.
	places bool
}

// scanned is a part of a channel at one moment.
type scanned struct {
	// exists is false when the log knows nothing of the channel. last is its
	// newest offset, whether retained or not, base the one before its first.
	exists         bool
	last, base     uint64
	messages       uint64
	oldest, newest arrival
	entries        []arrival
	// cut: the bytes ended it, and there is more.
	cut bool
}

// lost tells that the log does not know of an offset that it gave out: the channel
// was set back, or made anew, which may also mean that it was silent for so long that
// its place was forgotten.
func (r *scanned) lost(offset uint64) bool {
	if !r.exists || r.last < offset || r.base > offset {
		return true
	}
	// A jump over an offset that is above the one that it counts from.
	for _, a := range r.entries {
		if a.offset > offset {
			return a.prev < offset
		}
	}
	return false
}

// placeOf is the place in a new life of who was at an offset before, of a page from there on. It is one
// that the log knows: where that offset is, or before what follows it, or the end. It does not lie before the
// beginning of the channel, which is above the offset if a server lost what it knew of the channel but for
// the entries: who stood there would seem to have lost something in this life as well, and in the next one.
func (r *scanned) placeOf(offset uint64) uint64 {
	least := max(offset, r.base)
	for _, a := range r.entries {
		switch {
		case a.offset == least:
			return least
		case a.offset > least:
			return a.prev
		}
	}
	if r.cut || len(r.entries) == repairPage {
		return least
	}
	return r.last
}

// reading is attempt for what takes one of the places of an app for readers. It has none while it
// waits for a server, and is not timed while it waits for a place.
func (l *Log) reading(ctx context.Context, app string, do func(ctx context.Context) error) error {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	return l.patiently(ctx, func() error {
		done, err := l.readers.Take(waiting, app)
		if err != nil {
			return err
		}
		defer done()
		return l.try(ctx, do)
	})
}

func (l *Log) scan(ctx context.Context, k channelKeys, q scanQuery) (*scanned, error) {
	micros := func(t time.Time, up bool) string {
		if t.IsZero() {
			return "0"
		}
		n := t.UnixMicro()
		if up && t.Nanosecond()%1000 != 0 {
			n++
		}
		return strconv.FormatInt(max(n, 1), 10)
	}
	flag := func(set bool) string {
		if set {
			return "1"
		}
		return "0"
	}
	args := []string{
		strconv.FormatUint(q.from, 10), strconv.FormatUint(q.to, 10), micros(q.since, true), micros(q.until, false),
		strconv.Itoa(q.most), flag(q.newestFirst), strconv.Itoa(q.bytes), flag(q.places),
	}
	var got []rueidis.RedisMessage
	err := l.reading(ctx, k.app, func(ctx context.Context) (err error) {
		got, err = readScript.Exec(ctx, l.read, []string{k.stream, k.meta}, args).ToArray()
		return err
	})
	if err != nil && l.ctx.Err() != nil {
		return nil, broker.ErrClosed
	}
	if err != nil {
		return nil, unavailable("reading", err)
	}
	r, err := parseScan(got)
	if err != nil {
		return nil, unavailable("reading", err)
	}
	return r, nil
}

func parseScan(got []rueidis.RedisMessage) (*scanned, error) {
	if len(got) != 7 {
		return nil, errNotOurs
	}
	r := &scanned{}
	cut, err := got[6].AsUint64()
	if err != nil {
		return nil, err
	}
	r.cut = cut == 1
	last, err := got[0].ToString()
	if err != nil {
		return nil, err
	}
	if r.exists = last != ""; r.exists {
		if r.last, err = strconv.ParseUint(last, 10, 64); err != nil {
			return nil, errNotOurs
		}
		if r.base, err = got[1].AsUint64(); err != nil {
			return nil, err
		}
	}
	if r.messages, err = got[2].AsUint64(); err != nil {
		return nil, err
	}
	if r.messages > 0 {
		if r.oldest, err = parseEntry(&got[3]); err != nil {
			return nil, err
		}
		if r.newest, err = parseEntry(&got[4]); err != nil {
			return nil, err
		}
	}
	entries, err := got[5].ToArray()
	if err != nil {
		return nil, err
	}
	r.entries = make([]arrival, len(entries))
	for i := range entries {
		if r.entries[i], err = parseEntry(&entries[i]); err != nil {
			return nil, err
		}
		r.entries[i].base = r.base
	}
	return r, nil
}

// parseEntry reads an entry of a stream with the fields p, t, f and e.
func parseEntry(m *rueidis.RedisMessage) (a arrival, err error) {
	parts, err := m.ToArray()
	if err != nil || len(parts) != 2 {
		return a, errNotOurs
	}
	id, err := parts[0].ToString()
	if err != nil {
		return a, err
	}
	offset, _, _ := strings.Cut(id, "-")
	if a.offset, err = strconv.ParseUint(offset, 10, 64); err != nil {
		return a, errNotOurs
	}
	fields, err := parts[1].AsStrSlice()
	if err != nil || len(fields) != 8 || fields[5] == "" {
		return a, errNotOurs
	}
	if a.prev, err = strconv.ParseUint(fields[1], 10, 64); err != nil {
		return a, errNotOurs
	}
	at, err := strconv.ParseUint(fields[3], 10, 64)
	if err != nil {
		return a, errNotOurs
	}
	a.time, a.verdict, a.entry = microseconds(at), verdictOf(fields[5][0]), fields[7]
	return a, nil
}

func (r *scanned) retained(epoch string) broker.Retained {
	out := broker.Retained{Epoch: epoch, Messages: r.messages}
	if r.messages > 0 {
		out.Oldest, out.OldestTime = r.oldest.offset, r.oldest.time
		out.Newest, out.NewestTime = r.newest.offset, r.newest.time
	}
	return out
}

func publications(entries []arrival, epoch, channel string) []*broker.Publication {
	out, series := make([]*broker.Publication, len(entries)), seriesOf(channel)
	for i := range entries {
		out[i] = entries[i].publication(epoch, series, false)
	}
	return out
}

func (l *Log) forReading(ctx context.Context, app string) (*appLog, error) {
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
	return a, nil
}

// Read implements [broker.History].
func (l *Log) Read(ctx context.Context, app, channel string, q broker.Query) (*broker.Page, error) {
	a, err := l.forReading(ctx, app)
	if err != nil {
		return nil, err
	}
	if err := q.Check(); err != nil {
		return nil, err
	}
	epoch := a.currentEpoch()
	r, err := l.scan(ctx, l.keys.channel(app, channel), scanQuery{
		from: q.From, to: q.To, since: q.Since, until: q.Until, most: q.Limit + 1, newestFirst: q.NewestFirst, bytes: broker.PageBytes,
	})
	if err != nil {
		return nil, err
	}
	if now := a.currentEpoch(); now != epoch {
		// The log began a new life while its server was waited for: nobody knows of which one this is.
		return nil, unavailable("reading history", fmt.Errorf("%w: it is %s now", broker.ErrEpochChanged, now))
	}
	page := &broker.Page{Retained: r.retained(epoch), More: r.cut || len(r.entries) > q.Limit}
	page.Publications = publications(r.entries[:min(len(r.entries), q.Limit)], epoch, channel)
	return page, nil
}

// After implements [broker.History]. Each entry names the offset before it, so
// nothing is missing after a position if the entry that follows names just this one.
func (l *Log) After(ctx context.Context, app, channel string, pos broker.Position, limit int) (*broker.Page, error) {
	a, err := l.forReading(ctx, app)
	if err != nil {
		return nil, err
	}
	if err := broker.CheckLimit(limit); err != nil {
		return nil, err
	}
	epoch := a.currentEpoch()
	if pos.Epoch != epoch {
		return nil, fmt.Errorf("%w: it is %s now", broker.ErrEpochChanged, epoch)
	}
	r, err := l.scan(ctx, l.keys.channel(app, channel), scanQuery{from: pos.Offset + 1, most: limit + 1, bytes: broker.PageBytes})
	if err != nil {
		return nil, err
	}
	if now := a.currentEpoch(); now != epoch {
		return nil, fmt.Errorf("%w: it is %s now", broker.ErrEpochChanged, now)
	}
	life := placeLife(a)
	switch {
	case !r.exists && before(pos.Offset, uint64(l.Now().UnixMicro()), life):
		// Nobody was ever here, as far as anybody knows.
	case !r.exists:
		return nil, broker.ErrPositionExpired
	case pos.Offset > r.last:
		return nil, broker.ErrPositionUnknown
	case pos.Offset == r.last, before(pos.Offset, r.base, life) && r.last == r.base:
	case len(r.entries) == 0:
		return nil, broker.ErrPositionExpired
	case before(pos.Offset, r.base, life) && r.entries[0].prev == r.base:
	case r.entries[0].prev != pos.Offset:
		// Either some were removed, or a server lost the position itself and what
		// followed it, and jumped over it.
		return nil, broker.ErrPositionExpired
	}
	page := &broker.Page{Retained: r.retained(epoch), More: r.cut || len(r.entries) > limit}
	page.Publications = publications(r.entries[:min(len(r.entries), limit)], epoch, channel)
	return page, nil
}

// Retained implements [broker.History].
func (l *Log) Retained(ctx context.Context, app, channel string) (broker.Retained, error) {
	a, err := l.forReading(ctx, app)
	if err != nil {
		return broker.Retained{}, err
	}
	r, err := l.scan(ctx, l.keys.channel(app, channel), scanQuery{from: 1, to: 1, most: 1})
	if err != nil {
		return broker.Retained{}, err
	}
	return r.retained(a.currentEpoch()), nil
}

// Lost implements [broker.History]. An entry names the one before it, also when that is gone. What goes for its
// age is older than that, whenever it goes.
func (l *Log) Lost(ctx context.Context, app, channel string, since time.Time) (bool, error) {
	a, err := l.forReading(ctx, app)
	if err != nil {
		return false, err
	}
	r, err := l.scan(ctx, l.keys.channel(app, channel), scanQuery{from: 1, to: 1, most: 1})
	if err != nil || !r.exists {
		return false, err
	}
	limits := a.limits.Load()
	aged := since.Before(l.Now().Add(-limits.MaxAge)) // The zero time is.
	if r.messages == 0 {
		return aged && r.last > r.base, nil
	}
	full := limits.MaxMessages > 0 && r.messages >= uint64(limits.MaxMessages)
	return r.oldest.prev > r.base && !r.oldest.time.Before(since) && (full || aged), nil
}
