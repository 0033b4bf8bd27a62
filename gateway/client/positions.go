package client

import (
	"sync"

	"github.com/tidwall/gjson"
)

// positions are those of all channels of a client, and what became of them when it came
// back.
type positions struct {
	mu sync.Mutex
	of map[string]*position
	// socket is the present connection, was the one before it.
	socket, was string
	// sum is what coming back brings, nil when nothing is awaited; asking is set until all
	// subscriptions have been asked for again.
	sum    *Recovery
	asking bool
}

func newPositions() *positions {
	return &positions{of: map[string]*position{}}
}

// event notes an event. It reports whether it is none that came before, and whether its channel is wanted.
func (p *positions) event(ev *Event) (isNew, wanted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.of[ev.Channel]
	if at == nil {
		return true, false // It is of a subscription that was given up, and nothing repeats.
	}
	if ev.StreamID != "" {
		at.take(ev)
	}
	return ev.MessageID == "" || at.ids.add(ev.MessageID), true
}

// wanted tells whether there is a subscription of a channel, granted or not.
func (p *positions) wanted(channel string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of[channel] != nil
}

// open notes a new connection. back is set when it is not the first.
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

// wish notes that the caller wants a channel anew, and how it is to begin: what it knows of
// the past is nothing to go on from then.
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

// subscribe notes that a channel is about to be asked for, and how it is to begin.
func (p *positions) subscribe(channel string, w way) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.of[channel]
	if at == nil {
		return // It was given up meanwhile.
	}
	switch at.again = false; {
	case w >= rewinding:
		at.way, at.seen, at.ahead = w, mark{}, mark{}
	case at.way == collecting && at.attach.stream != "":
		// It is asked for with other settings, and its snapshot goes on.
	case at.way != resuming:
		at.way = w
	}
}

// resumable tells whether a channel has a position to go on from.
func (p *positions) resumable(channel string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.of[channel]
	return at != nil && at.resumable()
}

// lost tells whether what came after the last event of a channel cannot be asked for.
func (p *positions) lost(channel string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.of[channel]
	return at == nil || !at.resumable() && !at.again
}

// lose notes that a subscription that was granted cannot be resumed.
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

// grant notes a success frame.
func (p *positions) grant(ev *Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.of[ev.Channel]; at != nil {
		at.grant(ev, p.socket)
	}
}

// complete notes that a rewind or a snapshot is there.
func (p *positions) complete(channel string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.of[channel]; at != nil && at.way != resuming {
		at.arrive()
	}
}

// resumed takes the summary of a resume.
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

// failed takes the word that a channel cannot go on where it was, or that something is
// missing in it.
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

// denied fails all that are being resumed: the server does not know how.
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

// asked notes that all subscriptions of a connection have been asked for.
func (p *positions) asked(socket string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.socket == socket {
		p.asking = false
	}
}

// summary is what coming back brought, once all subscriptions are where they are live, nil
// before that and afterwards.
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

// noBase notes that the bases of a channel were given up, up to a serial at least.
func (p *positions) noBase(channel string, serial uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.of[channel]; at != nil {
		at.raise(max(serial, at.seen.serial, at.ahead.serial))
	}
}

// skipped notes that the server left out events of a channel for a slow client.
func (p *positions) skipped(channel string) { p.noBase(channel, noBases) }

func (p *positions) drop(channel string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.of, channel)
}

// request makes a resume request of the positions of some channels, nil if there are none.
// deltas tells which of them take part in delta compression. They are being resumed then.
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
