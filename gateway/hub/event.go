package hub

import (
	"sync/atomic"
	"time"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// olderBases is the number of publications per conflation value that are kept
// besides the last one, for sockets that have not received the last one.
const olderBases = 3

// lineage is what deltas of one publication may start from, in one mode.
type lineage struct {
	// recent are the last publications of the same conflation value (of the
	// channel in single-base mode), the newest first, nil where there is none.
	recent [1 + olderBases]*texts
	// full is set if the interval asks for the full frame.
	full bool
}

// at returns the place of the publication with this offset, or -1.
func (l *lineage) at(offset uint64) int {
	for i, t := range l.recent {
		if t != nil && t.pub.Offset == offset {
			return i
		}
	}
	return -1
}

// event is a publication with everything decided that does not depend on the
// socket. Its frames are built on demand, once, and shared by all shards.
type event struct {
	// reread: it comes from the log, and nothing tells what frames it had live.
	reread bool
	*texts
	// bases has what deltas may start from, by mode.
	bases [modes]lineage
	// tracked publications take part in delta compression.
	tracked bool
	// exclude is a local connection that must not receive the publication.
	exclude *socket.Socket
	// waits counts it in the budget while sockets that are behind wait for it.
	waits socket.Item

	build  rank.Mutex[rank.Event]
	plain  [4]atomic.Pointer[socket.Frame] // by dialect, then embedded
	deltas [forms]atomic.Pointer[socket.Frame]
	// others are the delta frames that start from older publications. Few
	// sockets need them.
	others map[otherDelta]*socket.Frame
}

// weight implements [prepared].
func (p *event) weight() int { return len(p.pub.Data) + 512 }

// passed implements [prepared].
func (p *event) passed(s *subscribers) {
	if p.pub.Offset <= s.last {
		return
	}
	s.last, s.epoch = p.pub.Offset, p.pub.Epoch
	if p.line.caches && cacheable(p.pub) {
		s.cached = p
	}
}

// cacheable tells whether a cache channel remembers a publication (protocol section
// 1.10).
func cacheable(p *broker.Publication) bool {
	return p.Origin != broker.OriginClient && p.Skipped == ""
}

// Place implements [backlog.Item].
func (p *event) Place() uint64 { return p.pub.Offset }

// Stored implements [backlog.Item].
func (p *event) Stored() time.Time { return p.pub.Time }

// Size implements [backlog.Item]: the data, and frames made of it.
func (p *event) Size() int { return 3*len(p.pub.Data) + 1024 }

type otherDelta struct {
	form form
	base int
}

// keyOf is the conflation value as a subscription of that form sees it.
func (p *event) keyOf(f form) string {
	if f&formKeyed != 0 {
		return p.key
	}
	return ""
}

// noDelta marks a delta frame that would not have been shorter.
var noDelta = &socket.Frame{}

// bare returns the plain frame, without markers.
func (p *event) bare(d pusher.Dialect, embed bool) *socket.Frame {
	i := int(d)
	if embed && p.embed {
		i += 2
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
	ev := p.event(d, embed)
	buf := websocket.Buffer(len(p.pub.Data) + len(p.pub.Data)/8 + 160)
	frame := websocket.Seal(pusher.AppendBare(buf, d, &ev), websocket.Text)
	slot.Store(frame)
	return frame
}

// delta returns the delta frame that starts from the base at that place, or nil
// when the full frame is not longer.
func (p *event) delta(f form, base int) *socket.Frame {
	f &= formV2 | formKeyed | formVCDIFF
	if base > 0 {
		return p.otherDelta(f, base)
	}
	slot := &p.deltas[f]
	frame := slot.Load()
	if frame == nil {
		// The full frames have a lock of their own.
		full, from := p.full(f), p.bases[f.mode()].recent[0]
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

func (p *event) otherDelta(f form, base int) *socket.Frame {
	full, from := p.full(f), p.bases[f.mode()].recent[base]
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

func (p *event) encode(f form, full *socket.Frame, from *texts, fromText *socket.Frame) *socket.Frame {
	enc := p.line.hall.encoder()
	defer p.line.hall.putEncoder(enc)
	begin := time.Now()
	if f&formVCDIFF != 0 {
		enc.buf = enc.AppendVCDIFF(enc.buf[:0], fromText.Payload(), full.Payload())
	} else {
		enc.buf = enc.AppendFossil(enc.buf[:0], fromText.Payload(), full.Payload())
	}
	ev := p.event(f.dialect(), false)
	buf := websocket.Buffer(len(enc.buf)*4/3 + 256)
	buf = pusher.AppendDelta(buf, f.dialect(), &ev, p.mark(f&formKeyed != 0),
		f.algorithm().String(), from.number, enc.buf)
	p.line.hall.encoded(time.Since(begin))
	if websocket.Size(buf) < len(full.Payload()) {
		return websocket.Seal(buf, websocket.Text)
	}
	return noDelta
}

type encoder struct {
	delta.Encoder
	buf []byte
}
