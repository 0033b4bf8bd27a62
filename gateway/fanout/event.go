package fanout

import (
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/count"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// olderBases is the number of publications per conflation value that are kept in addition to the last one,
// for sockets that have not received the last one.
const olderBases = 3

// Lineage has the bases from which deltas of one publication may start, in one mode.
type Lineage struct {
	// recent are the last publications of the same conflation value (of the channel in single-base mode), the
	// newest first, nil where there is none.
	recent [1 + olderBases]*texts
	// Full is set if the interval requires a full frame.
	Full bool
}

// at returns the index in recent of the publication with this offset, or -1.
func (l *Lineage) at(offset uint64) int {
	for i, t := range l.recent {
		if t != nil && t.Pub.Offset == offset {
			return i
		}
	}
	return -1
}

// Event is a publication with everything decided that does not depend on the socket. Its frames are built on
// demand, once, and shared by all shards.
type Event struct {
	// reread: it was read from the log, so its live frames are not known.
	reread bool
	*texts
	// Bases has the bases of deltas, by mode.
	Bases [modes]Lineage
	// Tracked publications take part in delta compression.
	Tracked bool
	// Exclude is a local connection that must not receive the publication.
	Exclude *socket.Socket
	// waits counts it in the budget while sockets that are behind wait for it.
	waits socket.Item

	build  rank.Mutex[rank.Event]
	plain  [5]atomic.Pointer[socket.Frame] // by dialect, first those with data as a string, then those with embedded data
	deltas [forms]atomic.Pointer[socket.Frame]
	// others are the delta frames that start from older bases than the last one. Few sockets need them.
	others map[otherDelta]*socket.Frame
}

// Part returns how the publication takes part in delta compression.
func (p *Event) Part() count.Part {
	if p.Pub.Skipped != "" {
		return count.Plain
	}
	return count.PartOf(&p.Pub.Event, p.line.Name, p.Key, p.shape, &p.rules.Delta)
}

// weight implements [Prepared].
func (p *Event) weight() int { return p.bytes + p.escapes + 512 }

// passed implements [Prepared].
func (p *Event) passed(s *Subscribers) {
	if p.Pub.Offset <= s.last {
		return
	}
	s.last, s.epoch = p.Pub.Offset, p.Pub.Epoch
	if p.line.Caches && p.Pub.Cacheable() {
		s.cached = p
	}
}

// Place implements [backlog.Item].
func (p *Event) Place() uint64 { return p.Pub.Offset }

// Stored implements [backlog.Item].
func (p *Event) Stored() time.Time { return p.Pub.Time }

// Size implements [backlog.Item]: it estimates the bytes of the publication and of the frames made of it.
func (p *Event) Size() int { return 3*p.bytes + 2*p.escapes + 1024 }

type otherDelta struct {
	form Form
	base int
}

// keyOf returns the conflation value that a subscription of that form uses.
func (p *Event) keyOf(f Form) string {
	if f&Keyed != 0 {
		return p.Key
	}
	return ""
}

// noDelta marks a delta frame that would not have been shorter.
var noDelta = &socket.Frame{}

// Bare returns the frame without markers. embed asks for data as JSON instead of a string, where the event
// allows that.
func (p *Event) Bare(d pusher.Dialect, embed bool) *socket.Frame {
	i := int(d)
	if embed && p.embed && d != pusher.Events {
		i += pusher.Dialects
	} else {
		embed = false
	}
	slot := &p.plain[i]
	if frame := slot.Load(); frame != nil {
		return frame
	}
	p.build.Lock()
	defer p.build.Unlock()
	if frame := slot.Load(); frame != nil {
		return frame
	}
	frame := p.plainFrame(d, embed)
	slot.Store(frame)
	return frame
}

func (p *Event) plainFrame(d pusher.Dialect, embed bool) *socket.Frame {
	ev := p.event(d, embed)
	size := p.bytes + len(p.Pub.Data)/8 + 160
	if d == pusher.Events {
		buf := appendPlace(make([]byte, 0, size+96), p.Pub.Epoch, p.Pub.Offset)
		head := len(buf)
		return socket.NewFrame(pusher.AppendEvent(buf, &ev), head).Of(p.Pub.Time)
	}
	return websocket.Seal(pusher.AppendBare(websocket.Buffer(size), d, &ev), websocket.Text).Of(p.Pub.Time)
}

// delta returns the delta frame that starts from the base at that index of recent, or nil if the full frame
// is not longer.
func (p *Event) delta(f Form, base int) *socket.Frame {
	f &= V2 | Keyed | VCDIFF
	if base > 0 {
		return p.otherDelta(f, base)
	}
	slot := &p.deltas[f]
	frame := slot.Load()
	if frame == nil {
		// Full frames have their own lock, which must not be taken under build.
		full, from := p.full(f), p.lineage(f).recent[0]
		fromText := from.full(f)
		p.build.Lock()
		if frame = slot.Load(); frame == nil {
			frame = p.encode(f, full, from, fromText)
			slot.Store(frame)
		}
		p.build.Unlock()
	}
	if frame == noDelta {
		return nil
	}
	return frame
}

func (p *Event) otherDelta(f Form, base int) *socket.Frame {
	full, from := p.full(f), p.lineage(f).recent[base]
	fromText := from.full(f)
	p.build.Lock()
	defer p.build.Unlock()
	frame := p.others[otherDelta{f, base}]
	if frame == nil {
		if p.others == nil {
			p.others = map[otherDelta]*socket.Frame{}
		}
		frame = p.encode(f, full, from, fromText)
		p.others[otherDelta{f, base}] = frame
	}
	if frame == noDelta {
		return nil
	}
	return frame
}

func (p *Event) encode(f Form, full *socket.Frame, from *texts, fromText *socket.Frame) *socket.Frame {
	enc := p.line.Hall.encoder()
	defer p.line.Hall.putEncoder(enc)
	begin := time.Now()
	if f&VCDIFF != 0 {
		enc.buf = enc.AppendVCDIFF(enc.buf[:0], fromText.Payload(), full.Payload())
	} else {
		enc.buf = enc.AppendFossil(enc.buf[:0], fromText.Payload(), full.Payload())
	}
	ev := p.event(f.Dialect(), false)
	buf := websocket.Buffer(len(enc.buf)*4/3 + 256)
	buf = pusher.AppendDelta(buf, f.Dialect(), &ev, p.mark(f&Keyed != 0),
		f.Algorithm().String(), from.numberOf(f&Keyed != 0), enc.buf)
	p.line.Hall.Encoded(time.Since(begin))
	if websocket.Size(buf) < len(full.Payload()) {
		return websocket.Seal(buf, websocket.Text).Of(p.Pub.Time)
	}
	return noDelta
}

type encoder struct {
	delta.Encoder
	buf []byte
}
