package rest

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/sight"
)

// bounds are the bounds of a history request; 0 means none.
type bounds struct {
	StartSerial uint64 `json:"ss"`
	EndSerial   uint64 `json:"es"`
	StartTime   int64  `json:"st"`
	EndTime     int64  `json:"et"`
}

// page is a page of the history (protocol section 5.6).
type page struct {
	// items is a JSON array.
	items []byte
	// rest has the members in addition to items; it is encoded as an object.
	rest any
}

// text implements [written].
func (p page) text() ([]byte, error) {
	rest, err := encoded(p.rest)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(p.items)+len(rest)+16)
	out = append(append(out, `{"items":`...), p.items...)
	return append(append(out, ','), rest[1:]...), nil
}

// summary is the part of a page in addition to its events.
type summary struct {
	Direction   string      `json:"direction"`
	Limit       int         `json:"limit"`
	HasMore     bool        `json:"has_more"`
	NextCursor  *string     `json:"next_cursor"`
	Bounds      shownBounds `json:"bounds"`
	Continuity  continuity  `json:"continuity"`
	StreamState streamState `json:"stream_state"`
}

type shownBounds struct {
	StartSerial *uint64 `json:"start_serial"`
	EndSerial   *uint64 `json:"end_serial"`
	StartTime   *int64  `json:"start_time_ms"`
	EndTime     *int64  `json:"end_time_ms"`
}

type continuity struct {
	StreamID   string  `json:"stream_id"`
	Oldest     *uint64 `json:"oldest_available_serial"`
	Newest     *uint64 `json:"newest_available_serial"`
	OldestTime *int64  `json:"oldest_available_published_at_ms"`
	NewestTime *int64  `json:"newest_available_published_at_ms"`
	Messages   uint64  `json:"retained_messages"`
	Complete   bool    `json:"complete"`
	Truncated  bool    `json:"truncated_by_retention"`
	// CutBy says whether a limit of the app or the retention of the log is the reason.
	CutBy *string `json:"truncated_by"`
}

type streamState struct {
	StreamID        string  `json:"stream_id"`
	Durable         string  `json:"durable_state"`
	RecoveryAllowed bool    `json:"recovery_allowed"`
	ResetRequired   bool    `json:"reset_required"`
	Reason          *string `json:"reason"`
	// NodeID is always null: the stream belongs to no gateway.
	NodeID     *string `json:"node_id"`
	Transition *int64  `json:"last_transition_at_ms"`
	Source     string  `json:"authoritative_source"`
	Observed   string  `json:"observed_source"`
}

// stateOf describes the stream of the channel. The log is always the source.
func (r *request) stateOf(stream string) streamState {
	s := streamState{StreamID: stream, Durable: "healthy", RecoveryAllowed: r.app.Recovery.Enabled, Source: "log", Observed: "log"}
	if e := r.api.opt.Eraser; e != nil {
		if began := e.Began(r.app.ID, r.channel); !began.IsZero() {
			at := began.UnixMilli()
			s.Transition = &at
		}
	}
	return s
}

// nilIfZero returns nil, a JSON null, for a zero value.
func nilIfZero[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// checkHistory refuses channels without a readable history.
func (r *request) checkHistory() error {
	if err := r.checkErasable(); err != nil {
		return err
	}
	if !r.app.HistoryEnabled {
		return fail(http.StatusUnprocessableEntity, "feature_disabled", "history is not enabled for this app")
	}
	return nil
}

const (
	newestFirst = "newest_first"
	oldestFirst = "oldest_first"
)

var directions = map[string]string{
	"": newestFirst, "newest_first": newestFirst, "backwards": newestFirst, "reverse": newestFirst,
	"oldest_first": oldestFirst, "forwards": oldestFirst, "forward": oldestFirst,
}

// history serves GET /apps/ID/channels/CHANNEL/history.
func (r *request) history() (any, error) {
	if err := r.checkHistory(); err != nil {
		return nil, err
	}
	w, lines, err := r.asked()
	if err != nil {
		return nil, err
	}
	view, err := r.look()
	if err != nil {
		return nil, err
	}
	if lines {
		return r.stream(view, w)
	}
	got, err := r.read(view, w)
	if err != nil {
		return nil, err
	}
	last := uint64(0)
	if n := len(got.Publications); n > 0 {
		last = got.Publications[n-1].Offset
	}
	return page{appendItems(nil, r.channel, got.Publications, true), r.summary(view, got, w, got.More && last > 0, last)}, nil
}

// asked parses the parameters of the request. lines reports whether the answer is wanted as lines.
func (r *request) asked() (w walk, lines bool, err error) {
	switch format := r.params.Get("format"); format {
	case "", "json":
	case "ndjson":
		lines = true
	default:
		return w, false, invalid("format is %.40q, must be json or ndjson", format)
	}
	direction, ok := directions[r.params.Get("direction")]
	if !ok {
		return w, lines, invalid("direction is %.40q, must be newest_first or oldest_first", r.params.Get("direction"))
	}
	w.direction = direction
	most := r.app.Limits.MaxHistoryPage
	if lines {
		most = maxStream
	}
	if w.limit, err = r.limit(most); err != nil {
		return w, lines, err
	}
	if w.bounds, err = r.bounds(); err != nil {
		return w, lines, err
	}
	if u := r.until; u != nil && (w.bounds.EndSerial == 0 || w.bounds.EndSerial > *u) {
		w.bounds.EndSerial, w.none = *u, *u == 0 || w.bounds.StartSerial > *u
	}
	b := w.bounds
	q := broker.Query{NewestFirst: direction == newestFirst, From: b.StartSerial, To: b.EndSerial, Limit: w.limit}
	if b.StartTime != 0 {
		q.Since = time.UnixMilli(b.StartTime)
	}
	if b.EndTime != 0 {
		// The bound is inclusive, and clients see whole milliseconds.
		q.Until = time.UnixMilli(b.EndTime).Add(time.Millisecond - 1)
	}
	w.mark = cursor{App: r.app.ID, Channel: r.channel, Direction: direction, Bounds: b}
	if text := r.params.Get("cursor"); text != "" {
		var at cursor
		err := r.app.Verify(r.api.opt.Now(), func(_, secret string) (err error) {
			at, err = openCursor(text, secret, w.mark)
			return err
		})
		if err != nil {
			return w, lines, err
		}
		w.mark, w.goesOn = at, true
		if q.NewestFirst {
			q.To = at.Next
		} else {
			q.From = at.Next
		}
	}
	w.query = q
	return w, lines, nil
}

// look returns the readable part of the channel's history.
func (r *request) look() (*sight.View, error) {
	return sight.Log{History: r.api.opt.History, Now: r.api.opt.LogTime}.Look(r.http.Context(), r.app, r.channel)
}

// read reads the first page. The epoch of a cursor must be the present one, because offsets mean nothing in
// another.
func (r *request) read(view *sight.View, w walk) (*sight.Page, error) {
	if w.none {
		seen, kept, err := view.State(r.http.Context())
		return &sight.Page{Page: broker.Page{Retained: seen}, Kept: kept}, err
	}
	page, err := view.Read(r.http.Context(), w.query)
	if err != nil {
		return nil, err
	}
	if page.Emptied, err = view.Emptied(r.http.Context(), page, w.bounds.StartSerial, startOf(w.bounds), r.api.opt.LogTime()); err != nil {
		return nil, err
	}
	if !w.goesOn {
		return page, nil
	}
	if !of(page, w.mark.Epoch) {
		return nil, errForeignCursor
	}
	return page, nil
}

// summary describes the pages up to the offset last.
func (r *request) summary(view *sight.View, got *sight.Page, w walk, more bool, last uint64) summary {
	b := w.bounds
	out := summary{
		Direction: w.direction, Limit: w.limit, HasMore: more,
		Bounds: shownBounds{
			nilIfZero(b.StartSerial), nilIfZero(b.EndSerial), nilIfZero(b.StartTime), nilIfZero(b.EndTime),
		},
		Continuity:  continuityOf(view, got.Retained, got.Kept, b),
		StreamState: r.stateOf(got.Retained.Epoch),
	}
	if got.Emptied && out.Continuity.CutBy == nil {
		out.Continuity.cutBy(sight.CutByRetention)
	}
	if more {
		w.mark.Epoch = got.Retained.Epoch
		w.mark.Next = last + 1
		if w.direction == newestFirst {
			w.mark.Next = last - 1
		}
		text := w.mark.encode(r.app.Secret.Reveal())
		out.NextCursor = &text
	}
	return out
}

// continuityOf describes the readable history, compared with what the log has kept.
func continuityOf(view *sight.View, seen, kept broker.Retained, b bounds) continuity {
	c := continuity{StreamID: seen.Epoch, Oldest: nilIfZero(seen.Oldest), Newest: nilIfZero(seen.Newest), Messages: seen.Messages}
	if seen.Messages > 0 {
		oldest, newest := seen.OldestTime.UnixMilli(), seen.NewestTime.UnixMilli()
		c.OldestTime, c.NewestTime = &oldest, &newest
	}
	// Clients see whole milliseconds.
	kept.OldestTime = kept.OldestTime.Truncate(time.Millisecond)
	bound := view.Bound
	bound.Time = bound.Time.Truncate(time.Millisecond)
	c.cutBy(bound.Cut(kept, b.StartSerial, startOf(b)))
	return c
}

// cutBy sets the reason why the beginning of the requested range is missing.
func (c *continuity) cutBy(cut sight.Cut) {
	c.CutBy = nilIfZero(string(cut))
	c.Truncated = c.CutBy != nil
	c.Complete = !c.Truncated
}

// startOf returns the time bound of a request, zero if there is none.
func startOf(b bounds) time.Time {
	if b.StartTime == 0 {
		return time.Time{}
	}
	return time.UnixMilli(b.StartTime)
}

// limit returns the number of requested events, most at most.
func (r *request) limit(most int) (int, error) {
	text := r.params.Get("limit")
	if text == "" {
		return most, nil
	}
	n, err := strconv.Atoi(text)
	if (err != nil && !errors.Is(err, strconv.ErrRange)) || n < 1 {
		return 0, invalid("limit is %.20q, must be a number from 1 to %d", text, most)
	}
	return min(n, most), nil
}

func (r *request) bounds() (bounds, error) {
	var b bounds
	number := func(names ...string) (int64, error) {
		given := ""
		for _, name := range names {
			text := r.params.Get(name)
			switch {
			case text == "":
				continue
			case given != "" && text != given:
				return 0, invalid("%s and %s have two values", names[0], name)
			}
			given = text
		}
		if given == "" {
			return 0, nil
		}
		n, err := strconv.ParseInt(given, 10, 64)
		if err != nil || n < 0 || n > 1<<53 {
			return 0, invalid("%s is %.20q, must be a number from 0 to 2^53", names[0], given)
		}
		return n, nil
	}
	var values [4]int64
	for i, names := range [][]string{{"start_serial"}, {"end_serial"}, {"start_time_ms", "start"}, {"end_time_ms", "end"}} {
		var err error
		if values[i], err = number(names...); err != nil {
			return b, err
		}
	}
	b = bounds{uint64(values[0]), uint64(values[1]), values[2], values[3]}
	switch {
	case b.EndSerial > 0 && b.StartSerial > b.EndSerial:
		return b, invalid("start_serial is above end_serial")
	case b.EndTime > 0 && b.StartTime > b.EndTime:
		return b, invalid("start_time_ms is above end_time_ms")
	}
	return b, nil
}

// state is the answer about the stream of a channel.
type state struct {
	Channel string `json:"channel"`
	Stream  struct {
		StreamID string `json:"stream_id"`
		// NextSerial is the lowest serial that the next event can have, null if the log has no event to derive
		// it from. Serials have gaps.
		NextSerial *uint64     `json:"next_serial"`
		Retained   continuity  `json:"retained"`
		State      streamState `json:"state"`
	} `json:"stream"`
}

// historyState serves GET /apps/ID/channels/CHANNEL/history/state.
func (r *request) historyState() (any, error) {
	if err := r.checkHistory(); err != nil {
		return nil, err
	}
	view, err := r.look()
	if err != nil {
		return nil, err
	}
	now, kept, err := view.State(r.http.Context())
	if err != nil {
		return nil, err
	}
	out := state{Channel: r.channel}
	out.Stream.StreamID, out.Stream.Retained, out.Stream.State = now.Epoch, continuityOf(view, now, kept, bounds{}), r.stateOf(now.Epoch)
	if kept.Newest > 0 {
		next := kept.Newest + 1
		out.Stream.NextSerial = &next
	}
	return out, nil
}
