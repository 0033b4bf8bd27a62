package console

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// tick is the time between two totals, and pause the minimum time between two groups of publications.
	tick  = time.Second
	pause = 100 * time.Millisecond
	// maxWaiting and maxWaitingBytes bound the publications that wait for a page; further ones are not shown,
	// and the page is told how many.
	maxWaiting, maxWaitingBytes = 256, 4 << 20
	// writeTime bounds a write to a page.
	writeTime = 10 * time.Second
)

// watch is the queue of one page that watches a channel.
type watch struct {
	queue   chan seeing
	bytes   atomic.Int64
	skipped atomic.Uint64
	all     *atomic.Uint64
}

type seeing struct {
	size int
	see  func() Event
}

// show is called by the publishing goroutine, and does not wait.
func (w *watch) show(size int, see func() Event) {
	if w.bytes.Add(int64(size)) <= maxWaitingBytes {
		select {
		case w.queue <- seeing{size, see}:
			return
		default:
		}
	}
	w.bytes.Add(int64(-size))
	w.skipped.Add(1)
	w.all.Add(1)
}

// shown is a group of publications of the watched channel.
type shown struct {
	Events  []Event `json:"events"`
	Skipped uint64  `json:"skipped"`
}

// take returns first and all publications that wait, at most maxWaiting.
func (w *watch) take(first seeing) shown {
	out := shown{}
	for s, more := first, true; more; {
		w.bytes.Add(int64(-s.size))
		out.Events = append(out.Events, s.see())
		select {
		case s = <-w.queue:
		default:
			more = false
		}
		more = more && len(out.Events) < maxWaiting
	}
	out.Skipped = w.skipped.Swap(0)
	return out
}

// events serves the event stream: totals each second, and the publications of one channel if the request names
// one.
func (c *Console) events(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		// For an answer without a body, no stream is counted and no channel is attached.
		if q := r.URL.Query(); q.Has("channel") {
			if _, _, err := c.place(q); err != nil {
				c.fail(w, r, err)
				return
			}
		}
		streamed(w)
		return
	}
	if !c.begin() {
		c.fail(w, r, refusal{http.StatusServiceUnavailable, "busy", "as many pages look at this console as may at a time; close one, or wait"})
		return
	}
	defer c.end()
	watching := &watch{queue: make(chan seeing, maxWaiting), all: &c.sampler.skipped}
	if q := r.URL.Query(); q.Has("channel") {
		app, name, err := c.place(q)
		if err == nil {
			var stop func()
			if stop, err = c.opt.Gateway.Watch(app, name, watching.show); err == nil {
				defer stop()
			}
			err = readError(err)
		}
		if err != nil {
			c.fail(w, r, err)
			return
		}
	}
	streamed(w)
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // it is the server's, for other requests
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	c.run(ctx, r, sender{w, out}, watching)
}

// streamed sets the headers of an event stream.
func streamed(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
}

// begin counts an event stream. It reports false if there are too many or the console is closed.
func (c *Console) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil || !c.streams.enter() {
		return false
	}
	c.open.Add(1)
	return true
}

func (c *Console) end() {
	c.streams.leave()
	if c.streams.now() == 0 {
		c.sampler.forget()
	}
	c.open.Done()
}

// run sends until the page is gone or its session has ended.
func (c *Console) run(ctx context.Context, r *http.Request, to sender, from *watch) {
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	calm := time.NewTimer(0)
	defer calm.Stop()
	queue := from.queue // nil during the pause
	if !to.send("totals", c.opt.Gateway.Totals()) {
		return
	}
	for {
		ok := true
		select {
		case <-ctx.Done():
			to.send("end", struct{}{})
			return
		case <-ticks.C:
			ok = c.admits(r) == admitted && to.send("totals", c.opt.Gateway.Totals())
		case first := <-queue:
			ok = to.send("live", from.take(first))
			queue = nil
			calm.Reset(pause)
		case <-calm.C:
			queue = from.queue
		}
		if !ok {
			return
		}
	}
}

// sender writes events of the stream.
type sender struct {
	w   http.ResponseWriter
	out *http.ResponseController
}

// send sends one event, and reports false if the page is gone.
func (s sender) send(event string, data any) bool {
	text, err := json.Marshal(data)
	if err != nil {
		return false
	}
	var b bytes.Buffer
	b.WriteString("event: " + event + "\ndata: ")
	b.Write(text)
	b.WriteString("\n\n")
	_ = s.out.SetWriteDeadline(time.Now().Add(writeTime))
	if _, err = s.w.Write(b.Bytes()); err != nil {
		return false
	}
	return s.out.Flush() == nil
}
