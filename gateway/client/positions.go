package client

import (
	"sync"

	"github.com/tidwall/gjson"
)

// positions are the positions of all channels of a client, and the result of the last reconnect. It is safe for
// concurrent use.
type positions struct {
	mu sync.Mutex
	of map[string]*position
	// socket is the id of the present connection, and was that of the previous one.
	socket, was string
	// sum collects the result of a reconnect, nil if none is in progress. asking is set until all subscriptions
	// have been requested again.
	sum    *Recovery
	asking bool
}

func newPositions() *positions {
	return &positions{of: map[string]*position{}}
}

// event records an event. isNew reports whether it is not a repeat, and wanted whether its channel is
// subscribed.
func (p *positions) event(ev *Event) (isNew, wanted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.of[ev.Channel]
	if at == nil {
		return true, false // the subscription was given up, and repeats are not detected
	}
	if ev.StreamID != "" {
		at.take(ev)
	}
	return ev.MessageID == "" || at.ids.add(ev.MessageID), true
}

// wanted reports whether a channel is subscribed or requested.
func (p *positions) wanted(channel string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of[channel] != nil
}

// open records a new connection. back is false for the first one.
func (p *positions) open(socket string, back bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.was, p.socket = p.socket, socket
	for _, at := range p.of {
		at.leave()
	}
	if !back {
		return
	}
	if p.asking = true; p.sum == nil {
		p.sum = &Recovery{}
	}
}

// wish records that the caller subscribes to a channel, and how it begins. With a rewind or snapshot, the
// earlier position is dropped.
func (p *positions) wish(channel string, w way) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.of[channel]
	if at == nil {
		at = &position{since: noBases, anew: true}
		p.of[channel] = at
	}
	if w >= rewinding {
		at.anew, at.seen, at.ahead = true, mark{}, mark{}
	}
}

// subscribe records that a channel is about to be requested, and how it begins.
func (p *positions) subscribe(channel string, w way) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.of[channel]
	if at == nil {
		return // it was given up meanwhile
	}
	switch at.again = false; {
	case w >= rewinding:
		at.way, at.seen, at.ahead = w, mark{}, mark{}
	case at.way == collecting && at.attach.stream != "":
		// The settings change while the snapshot continues.
	case at.way != resuming:
		at.way = w
	}
}

// resumable reports whether a channel has a position to resume from.
func (p *positions) resumable(channel string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.of[channel]
	return at != nil && at.resumable()
}

// lost reports whether events after the last one of a channel cannot be requested.
func (p *positions) lost(channel string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.of[channel]
	return at == nil || !at.resumable() && !at.again
}

// lose records a gap for a granted subscription that cannot be resumed.
func (p *positions) lose(channel, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := Gap{Channel: channel, Code: NotRecoverable, Reason: reason}
	if at := p.of[channel]; at != nil {
		g.After, g.Expected = at.seen.serial, at.seen.stream
		at.seen = mark{}
	}
	p.note(g)
}

func (p *positions) note(g Gap) {
	if p.sum != nil {
		p.sum.Gaps = append(p.sum.Gaps, g)
	}
}

// grant records a success frame.
func (p *positions) grant(ev *Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.of[ev.Channel]; at != nil {
		at.grant(ev, p.socket)
	}
}

// complete records the end of a rewind or snapshot.
func (p *positions) complete(channel string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.of[channel]; at != nil && at.way != resuming {
		at.arrive()
	}
}

// resumed handles the result of a resume.
func (p *positions) resumed(v gjson.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range v.Get("recovered").Array() {
		at := p.of[r.Get("channel").String()]
		if at == nil || at.way != resuming {
			continue
		}
		to := r.Get("position")
		if m := (mark{to.Get("stream_id").String(), to.Get("last_message_id").String(), to.Get("serial").Uint()}); m.stream == at.seen.stream {
			at.seen.reach(m)
		}
		at.arrive()
		if p.sum != nil {
			p.sum.Channels++
			p.sum.Events += int(r.Get("replayed").Int())
		}
	}
}

// failed handles a gap that the server reports. It reports false if the channel is not subscribed.
func (p *positions) failed(g Gap) (Gap, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.of[g.Channel]
	if at == nil {
		return g, false
	}
	at.fail(&g)
	p.note(g)
	return g, true
}

// denied fails all channels that are being resumed, because the server cannot resume.
func (p *positions) denied(reason string) (gaps []Gap) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for channel, at := range p.of {
		if at.way == resuming {
			g := Gap{Channel: channel, Code: NotRecoverable, Reason: reason}
			at.fail(&g)
			p.note(g)
			gaps = append(gaps, g)
		}
	}
	return gaps
}

// asked records that all subscriptions were requested on a connection.
func (p *positions) asked(socket string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.socket == socket {
		p.asking = false
	}
}

// summary returns the result of a reconnect, once: when all subscriptions are live. Before and after that it
// returns nil.
func (p *positions) summary() *Recovery {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sum == nil || p.asking {
		return nil
	}
	for _, at := range p.of {
		if at.way == resuming {
			return nil
		}
	}
	sum := p.sum
	p.sum = nil
	return sum
}

// noBase records that the bases of a channel were dropped, at least up to a serial.
func (p *positions) noBase(channel string, serial uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.of[channel]; at != nil {
		at.raise(max(serial, at.seen.serial, at.ahead.serial))
	}
}

// skipped records that the server skipped events of a channel because the client was slow.
func (p *positions) skipped(channel string) { p.noBase(channel, noBases) }

func (p *positions) drop(channel string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.of, channel)
}

// request returns a resume request for the positions of channels, nil if there are none, and marks them as
// resuming. deltas reports whether a channel has delta compression.
func (p *positions) request(prefix string, channels []string, deltas func(string) bool) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := append(append([]byte(`{"event":"`), prefix...), `resume","data":{"channel_positions":{`...)
	n := 0
	for _, channel := range channels {
		at := p.of[channel]
		if at == nil || !at.resumable() {
			continue
		}
		if n++; n > 1 {
			b = append(b, ',')
		}
		b = at.appendTo(b, channel, p.was, deltas(channel))
		at.way = resuming
	}
	if n == 0 {
		return nil
	}
	b = append(b, `},"socket_id":"`...)
	return append(append(b, p.was...), `"}}`...)
}
