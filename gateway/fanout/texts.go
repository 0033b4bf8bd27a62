package fanout

import (
	"sync/atomic"

	"github.com/sluicehq/sluice/gateway/count"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/broker/rank"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/pusher"
	"github.com/sluicehq/sluice/gateway/socket"
	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// texts holds the full frames of one publication, which are also the texts that deltas are made from. It
// refers to no other publication, so that a base keeps only itself alive.
type texts struct {
	line  *Line
	rules *Rules
	Pub   *broker.Publication
	// bytes is the size of the publication, see Bytes.
	bytes int
	// escapes is how many bytes the data grows if it is written as a string, 0 if it is written as JSON.
	escapes int
	// embed: the data is written as JSON (protocol section 3.7).
	embed bool
	// raw: the data is that of a client event. It is JSON and sent as it is in all frames.
	raw bool
	// shape is the shape of the data, if it was looked at.
	shape  delta.Shape
	number uint32
	Key    string
	// run is the number of deltas since the last full frame, by mode. It belongs to the owner of the channel.
	run [modes]int

	mu     rank.Mutex[rank.Texts]
	marked [4]atomic.Pointer[socket.Frame] // by V2 | Keyed
}

func (t *texts) event(d pusher.Dialect, embed bool) pusher.EventFrame {
	f := pusher.EventFrame{
		Event: t.Pub.Name, Channel: t.line.Name, Data: t.Pub.Data,
		EmbedData: embed || t.raw, UserID: t.Pub.UserID,
	}
	if d != pusher.V1 {
		if t.rules.Delta.DeliverTags {
			f.Tags = t.Pub.Tags
		}
		f.MessageID, f.Extras = t.Pub.ID(), t.Pub.Extras
		if t.line.Serials && t.Pub.Offset > 0 {
			f.StreamID, f.Serial = t.Pub.Epoch, t.Pub.Offset
		}
	}
	return f
}

// Bytes returns [broker.Event.Bytes] of the publication, which was counted once.
func (t *texts) Bytes() int { return t.bytes }

func (t *texts) mark(keyed bool) pusher.Mark {
	return pusher.Mark{Sequence: t.numberOf(keyed), Keyed: keyed, Key: t.Key}
}

// numberOf returns the number of the full frame. If the frame has a conflation value only because the
// subscription had values before, its number differs, because new subscriptions get another text.
func (t *texts) numberOf(keyed bool) uint32 {
	if keyed && !t.rules.Keyed {
		return t.number ^ 1<<30
	}
	return t.number
}

// full returns the full frame with its markers.
func (t *texts) full(f Form) *socket.Frame {
	slot := &t.marked[f&(V2|Keyed)]
	if frame := slot.Load(); frame != nil {
		return frame
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if frame := slot.Load(); frame != nil {
		return frame
	}
	ev := t.event(f.Dialect(), t.embed)
	buf := websocket.Buffer(t.bytes + 192)
	frame := websocket.Seal(pusher.AppendMarked(buf, f.Dialect(), &ev, t.mark(f&Keyed != 0)), websocket.Text).Of(t.Pub.Time)
	slot.Store(frame)
	return frame
}

// NewEvent returns the event of a publication. Its frames are plain until Bases.Track makes it a tracked one.
func (l *Line) NewEvent(pub *broker.Publication) *Event {
	rules := l.Rules()
	t := &texts{line: l, rules: rules, Pub: pub, bytes: pub.Bytes()}
	if (rules.Delta.Enabled || pub.Origin == broker.OriginClient) && pub.Skipped == "" {
		t.shape = delta.ShapeOf(pub.Data)
	}
	if rules.Keyed {
		t.Key = count.Value(&pub.Event, t.shape, rules.Path)
	}
	t.embed = rules.Delta.Enabled && t.shape == delta.Structure
	t.raw = pub.Origin == broker.OriginClient && (t.shape == delta.Structure || t.shape == delta.Scalar)
	if !t.embed && !t.raw {
		t.escapes = pusher.Escapes(pub.Data)
	}
	return &Event{texts: t}
}

// Reread returns the event of a publication that was read from the log for a subscription. Its frames are
// plain.
func (l *Line) Reread(pub *broker.Publication) *Event {
	p := l.NewEvent(pub)
	p.reread = true
	return p
}
