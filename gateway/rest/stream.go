package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/sight"
)

// maxStream is the maximum number of events in one answer of lines. For more, the reader sends another request,
// for which limits, drain and the readable history are checked again.
const maxStream = 20_000

// streamPage is the number of events that are read at a time.
const streamPage = 1000

// linesType is the content type of an answer of lines.
const linesType = "application/x-ndjson"

// stream is a part of the history that is sent as lines of JSON while it is read: each event as an item of a
// page, and a last line with the rest of a page. It may end earlier than requested; the last line then says that
// there is more. Without that line the answer is incomplete.
type stream struct {
	r    *request
	view *sight.View
	walk walk
	// page is the next one to send. room is what it holds of the answers' room.
	page *sight.Page
	room hold
	// left is how many events may follow, and last is the offset of the last sent event.
	left int
	last uint64
}

// walk is a parsed history request.
type walk struct {
	direction string
	limit     int
	bounds    bounds
	// none is set if nothing lies within the bounds.
	none  bool
	query broker.Query
	// mark is what cursors are bound to, and the cursor of the request if goesOn is set.
	mark   cursor
	goesOn bool
}

// pageBytes estimates what a page holds until it is sent, as events and as text.
func pageBytes(p *sight.Page) (n int64) {
	for _, e := range p.Publications {
		n += 2 * int64(e.Bytes()+512)
	}
	return n
}

// stream reads the first page, so that an error is answered as usual.
func (r *request) stream(view *sight.View, w walk) (*stream, error) {
	s := &stream{r: r, view: view, walk: w, left: w.limit, room: hold{bodies: r.api.answers, app: r.hold.app}}
	s.walk.query.Limit = min(w.limit, streamPage)
	page, err := r.read(view, s.walk)
	if err != nil {
		return nil, err
	}
	if !s.room.take(min(pageBytes(page), r.api.answers.share())) {
		return nil, r.noRoom()
	}
	s.page = page
	return s, nil
}

// send writes the lines; only the headers if headOnly is set.
func (s *stream) send(w http.ResponseWriter, headOnly bool) {
	defer func() { s.room.release() }()
	ctx, cancel := context.WithCancel(s.r.http.Context())
	defer cancel()
	w.Header().Set("Content-Type", linesType)
	w.Header().Set("Cache-Control", "no-store")
	// Proxies would buffer it until its end.
	w.Header().Set("X-Accel-Buffering", "no")
	if headOnly {
		return
	}
	out := &lines{w: w, control: http.NewResponseController(w), patience: s.r.api.opt.AnswerTimeout}
	for {
		n := min(len(s.page.Publications), s.left)
		s.left -= n
		more := s.page.More || n < len(s.page.Publications)
		if n > 0 {
			s.last = s.page.Publications[n-1].Offset
		}
		// The next page is read while this one is sent.
		var ahead chan *ahead
		if more && n > 0 && s.left > 0 {
			ahead = s.next(ctx)
		}
		for _, p := range s.page.Publications[:n] {
			out.item(s.r.channel, p)
		}
		s.room.release()
		if ahead != nil {
			if out.failed != nil {
				cancel()
			}
			next := <-ahead
			if out.failed == nil && next.page != nil {
				s.follow(out, next)
				continue
			}
			next.room.release()
		}
		out.end(s.r.summary(s.view, s.page, s.walk, more && s.last > 0, s.last))
		return
	}
}

// ahead is a page that was read ahead, with its room. page is nil if it could not be read now.
type ahead struct {
	page *sight.Page
	room hold
}

// next reads the page after the last sent event. When reading forwards, the page includes that event: if it is
// still there, nothing was lost in between.
func (s *stream) next(ctx context.Context) chan *ahead {
	q := s.walk.query
	q.Limit = min(s.left+1, streamPage)
	if q.NewestFirst {
		q.To = s.last - 1
	} else {
		q.From = s.last
	}
	out := make(chan *ahead, 1)
	a := &ahead{room: hold{bodies: s.r.api.answers, app: s.r.hold.app}}
	if s.r.take(s.r.api.bucketsOf(s.r.app).reads, limitReads, "reads", 1) != nil {
		s.r.retryAfter = 0
		out <- a
		return out
	}
	epoch := s.page.Retained.Epoch
	go func() {
		defer func() { out <- a }()
		page, err := s.view.Read(ctx, q)
		if err == nil && page.Retained.Epoch == epoch && a.room.take(min(pageBytes(page), s.r.api.answers.share())) {
			a.page = page
		}
	}()
	return out
}

// follow makes a page that was read ahead the current one. It writes a gap if events may have been lost in
// between.
func (s *stream) follow(out *lines, next *ahead) {
	s.page, s.room = next.page, next.room
	if s.walk.query.NewestFirst {
		return
	}
	if p := s.page.Publications; len(p) > 0 && p[0].Offset == s.last {
		s.page.Publications = p[1:]
		return
	}
	out.gap(s.last)
}

// lines writes lines and flushes them piece by piece. A client that does not read a piece in time loses its
// connection.
type lines struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
	text     []byte
	failed   error
}

func (l *lines) item(channel string, p *broker.Publication) {
	l.text = append(appendItem(l.text, channel, p, true), '\n')
	if len(l.text) >= piece {
		l.flush()
	}
}

// gap writes that events after a serial may be missing.
func (l *lines) gap(after uint64) {
	l.text = append(l.text, `{"gap":{"after_serial":`...)
	l.text = strconv.AppendUint(l.text, after, 10)
	l.text = append(l.text, "}}\n"...)
}

func (l *lines) end(s summary) {
	text, err := json.Marshal(map[string]summary{"end": s})
	if err != nil {
		return // without this line the reader knows that the answer is incomplete
	}
	l.text = append(append(l.text, text...), '\n')
	l.flush()
}

func (l *lines) flush() {
	if l.failed == nil {
		_ = l.control.SetWriteDeadline(time.Now().Add(l.patience + time.Duration(len(l.text)>>16)*time.Second))
		if _, l.failed = l.w.Write(l.text); l.failed == nil {
			l.failed = l.control.Flush()
		}
	}
	if cap(l.text) > 16*piece {
		l.text = nil
	}
	l.text = l.text[:0]
}
