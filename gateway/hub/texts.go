package hub

import (
	"github.com/sluicehq/sluice/gateway/count"
	"sync/atomic"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// texts holds the full frames of one publication, which are also the texts that
// deltas are made from. It refers to no other publication, so that a base keeps
// nothing but itself alive.
type texts struct {
	line *line
	pub  *broker.Publication
	// embed writes the data as JSON (protocol section 3.7).
	embed bool
	// raw data of a client event is JSON and travels as it is, everywhere.
	raw bool
	// shape is that of the data, if it was looked at.
	shape  delta.Shape
	number uint32
	key    string

	mu     rank.Mutex[rank.Texts]
	marked [4]atomic.Pointer[socket.Frame] // by formV2 | formKeyed
}

func (t *texts) event(d pusher.Dialect, embed bool) pusher.EventFrame {
	f := pusher.EventFrame{
		Event: t.pub.Name, Channel: t.line.name, Data: t.pub.Data,
		EmbedData: embed || t.raw, UserID: t.pub.UserID,
	}
	if d == pusher.V2 {
		if t.line.delta.DeliverTags {
			f.Tags = t.pub.Tags
		}
		f.MessageID, f.Extras = t.pub.ID(), t.pub.Extras
		if t.line.serials {
			f.StreamID, f.Serial = t.pub.Epoch, t.pub.Offset
		}
	}
	return f
}

func (t *texts) mark(keyed bool) pusher.Mark {
	return pusher.Mark{Sequence: t.number, Keyed: keyed, Key: t.key}
}

// full returns the full frame with its markers.
func (t *texts) full(f form) *socket.Frame {
	slot := &t.marked[f&(formV2|formKeyed)]
	if frame := slot.Load(); frame != nil {
		return frame
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if frame := slot.Load(); frame != nil {
		return frame
	}
	ev := t.event(f.dialect(), t.embed)
	buf := websocket.Buffer(len(t.pub.Data) + 192)
	frame := websocket.Seal(pusher.AppendMarked(buf, f.dialect(), &ev, t.mark(f&formKeyed != 0)), websocket.Text)
	slot.Store(frame)
	return frame
}

// newEvent is a publication as it is read from the log. Its frames are plain.
func (l *line) newEvent(pub *broker.Publication) *event {
	t := &texts{line: l, pub: pub}
	if (l.delta.Enabled || pub.Origin == broker.OriginClient) && pub.Skipped == "" {
		t.shape = delta.ShapeOf(pub.Data)
	}
	if l.keyed {
		t.key = count.Value(&pub.Event, t.shape, l.path)
	}
	t.embed = l.delta.Enabled && t.shape == delta.Structure
	t.raw = pub.Origin == broker.OriginClient && (t.shape == delta.Structure || t.shape == delta.Scalar)
	return &event{texts: t}
}

// reread is a publication that was read from the log for somebody. Its frames are plain.
func (l *line) reread(pub *broker.Publication) *event {
	p := l.newEvent(pub)
	p.reread = true
	return p
}
