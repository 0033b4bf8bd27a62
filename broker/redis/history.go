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

// scanQuery selects entries. A zero bound means no bound.
type scanQuery struct {
	from, to     uint64
	since, until time.Time
	most         int
	newestFirst  bool
	// bytes ends a page that reaches this size; 0 means no limit.
	bytes int
	// places leaves out the contents of the entries.
	places bool
}

// scanned is a part of a channel at a moment.
type scanned struct {
	// exists is false if the log has no place for the channel. last is its newest offset, retained or not;
	// base is the offset before its first.
	exists         bool
	last, base     uint64
	messages       uint64
	oldest, newest arrival
	entries        []arrival
	// cut is true if the limit of bytes ended the page and there is more.
	cut bool
}

// lost reports whether the log does not know an offset that it once gave out: the channel was set back, or
// created anew. The latter may also mean that it was silent for so long that its place expired.
func (r *scanned) lost(offset uint64) bool {
	if !r.exists || r.last < offset || r.base > offset {
		return true
	}
	// The first entry above the offset must not continue from an offset below it.
	for _, a := range r.entries {
		if a.offset > offset {
			return a.prev < offset
		}
	}
	return false
}

// placeOf maps an offset of the old epoch to a place in the new one, by a page that begins at the offset. The
// place is one that the log knows: the offset itself, the one before the next entry, or the end. It is not
// below base, which is above the offset if a server kept the entries but lost the hash: a client at a lower
// place would seem to have missed events in this epoch as well, and in the next.
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

// reading is attempt for a read that needs one of the app's reader places. It holds no place while it waits
// for a server, and its tries are not timed while it waits for a place.
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

// parseEntry parses an entry of a stream with the fields p, t, f and e.
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
		// A new epoch began while the server was waited for, so it is not known to which epoch the page
		// belongs.
		return nil, unavailable("reading history", fmt.Errorf("%w: it is %s now", broker.ErrEpochChanged, now))
	}
	page := &broker.Page{Retained: r.retained(epoch), More: r.cut || len(r.entries) > q.Limit}
	page.Publications = publications(r.entries[:min(len(r.entries), q.Limit)], epoch, channel)
	return page, nil
}

// After implements [broker.History]. Each entry names the offset before it, so nothing is missing after a
// position if the next entry names exactly this position.
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
		// Nothing was ever published to the channel, as far as is known.
	case !r.exists:
		return nil, broker.ErrPositionExpired
	case pos.Offset > r.last:
		return nil, broker.ErrPositionUnknown
	case pos.Offset == r.last, before(pos.Offset, r.base, life) && r.last == r.base:
	case len(r.entries) == 0:
		return nil, broker.ErrPositionExpired
	case before(pos.Offset, r.base, life) && r.entries[0].prev == r.base:
	case r.entries[0].prev != pos.Offset:
		// Either entries were removed, or a server lost the position and what followed it, and jumped over
		// it.
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

// Lost implements [broker.History]. The oldest entry names the one before it, even if that is gone. An entry
// that was removed for its age is older than the age limit, whenever it was removed.
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
	aged := since.Before(l.Now().Add(-limits.MaxAge)) // true for the zero time
	if r.messages == 0 {
		return aged && r.last > r.base, nil
	}
	full := limits.MaxMessages > 0 && r.messages >= uint64(limits.MaxMessages)
	return r.oldest.prev > r.base && !r.oldest.time.Before(since) && (full || aged), nil
}
