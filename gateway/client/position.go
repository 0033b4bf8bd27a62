package client

import (
	"math"
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// way is how a subscription gets to the live events.
type way uint8

const (
	direct way = iota
	resuming
	rewinding
	// collecting begins with a snapshot: the newest event of each conflation value.
	collecting
)

// noBases is the value of since if no bases are held.
const noBases = math.MaxUint64

// mark is a position in a stream, with the id of the event there.
type mark struct {
	stream, id string
	serial     uint64
}

// position is the position of the client in one channel (protocol section 5.7).
type position struct {
	// seen is the position up to which nothing is missing. Its stream is empty if there is none.
	seen mark
	// ahead is the newest event that arrived while earlier ones were still to come.
	ahead mark
	// attach is where the subscription begins on the socket; its stream is empty before the server has granted
	// it.
	attach mark
	way    way
	// snapshot is set if the server begins the subscription with a snapshot, unless it is resumed.
	snapshot bool
	// ids are the ids of the last events, to detect repeats.
	ids recent
	// anew is set from a new request of the caller until the server grants it. Earlier ids are dropped then,
	// because events of the past are wanted again.
	anew bool
	// again is set if a rewind or snapshot was interrupted, so it is requested again.
	again bool
	// since is the serial after which the bases of all events are held. It is valid for a server that knew the
	// client as socket.
	since  uint64
	socket string
	// salt is the difference between sequence numbers and serials, modulo 2^31, if salted is set.
	salt   uint32
	salted bool
}

// take records an event.
func (p *position) take(ev *Event) {
	at := mark{ev.StreamID, ev.MessageID, ev.Serial}
	switch {
	case ev.Form == Plain:
		// Other subscribers may have it as a base, which this event does not tell.
		p.raise(ev.Serial)
	case (ev.Form == Full || ev.Form == Delta) && ev.Serial > 0:
		p.number(ev)
	}
	switch p.way {
	case collecting:
		p.ahead.reach(at)
	case resuming:
		if at.stream == p.seen.stream && p.attach.stream == at.stream && at.serial <= p.attach.serial {
			p.seen.reach(at)
		} else {
			p.ahead.reach(at)
		}
	default:
		p.seen.reach(at)
	}
}

// reach moves a mark forwards, or into another stream.
func (m *mark) reach(at mark) {
	if m.stream != at.stream || at.serial > m.serial {
		*m = at
	} else if at.serial == m.serial && at.id != "" {
		m.id = at.id
	}
}

// number records the salt of an event's sequence number. If the salt has changed, the texts of frames have
// changed as well, so earlier bases are unusable.
func (p *position) number(ev *Event) {
	salt := (ev.Number - uint32(ev.Serial)) & (1<<31 - 1)
	if p.salted && p.salt != salt {
		p.raise(ev.Serial - 1)
	}
	p.salt, p.salted = salt, true
}

// raise drops the bases up to a serial.
func (p *position) raise(serial uint64) { p.since = max(p.since, serial) }

// grant records where a subscription begins, from its success frame.
func (p *position) grant(ev *Event, socket string) {
	if p.anew {
		p.anew, p.ids = false, recent{}
	}
	place, _ := pusher.ExactPlace(ev.Serial, ev.MessageID)
	p.attach = mark{stream: ev.StreamID, serial: place}
	if p.since = place; ev.StreamID == "" {
		p.since = noBases
	}
	p.socket = socket
	if p.snapshot = gjson.Get(ev.Data, "snapshot").Bool(); p.snapshot && p.way == direct {
		p.collect()
		return
	}
	if p.way == direct && p.attach.stream != "" && p.seen.stream != p.attach.stream {
		p.seen = p.attach
	}
}

// collect begins a snapshot, whose events are not positions to resume from.
func (p *position) collect() { p.way, p.seen, p.ahead = collecting, mark{}, mark{} }

// arrive records that the subscription is live.
func (p *position) arrive() {
	if p.seen.stream == "" {
		p.seen = p.attach
	}
	if p.way == rewinding && p.seen.stream == p.attach.stream {
		p.seen.reach(p.attach)
	}
	p.way = direct
	if p.ahead.stream != "" && (p.ahead.stream == p.seen.stream || p.ahead.stream == p.attach.stream) {
		p.seen.reach(p.ahead)
	}
	p.ahead = mark{}
}

// fail records a gap, and completes its description.
func (p *position) fail(g *Gap) {
	g.After, p.since = p.seen.serial, noBases
	if g.Expected == "" {
		g.Expected = p.seen.stream
	}
	switch {
	case p.way == rewinding || p.way == collecting:
		// The event that completes the rewind or snapshot follows.
		return
	case p.way == resuming:
		g.Live = p.attach.serial
		if g.Current == "" {
			g.Current = p.attach.stream
		}
		if p.snapshot {
			p.collect()
			return
		}
		p.seen = mark{}
		p.arrive()
	case g.Newest == 0:
		// The server does not say where it continues, so the next event sets the position.
		p.seen = mark{}
	default:
		g.Live = g.Newest
		p.seen = mark{stream: g.Current, serial: g.Newest}
	}
}

// leave resets the state of a connection that has ended.
func (p *position) leave() {
	if p.way == collecting {
		// The snapshot is incomplete.
		p.seen = mark{}
	}
	p.again = p.again || p.way >= rewinding && !p.resumable()
	p.way, p.ahead, p.attach, p.snapshot = direct, mark{}, mark{}, false
}

// resumable reports whether the server can be asked for the events after the position.
func (p *position) resumable() bool { return p.seen.stream != "" }

// appendTo appends the position as a member of a resume request. was is the socket id in the request.
func (p *position) appendTo(b []byte, channel, was string, deltas bool) []byte {
	b = pusher.AppendString(b, channel)
	b = append(b, `:{"stream_id":`...)
	b = pusher.AppendString(b, p.seen.stream)
	b = append(b, `,"serial":`...)
	b = strconv.AppendUint(b, p.seen.serial, 10)
	if p.seen.id != "" {
		b = append(b, `,"last_message_id":`...)
		b = pusher.AppendString(b, p.seen.id)
	}
	if deltas && p.socket == was && p.since <= p.seen.serial {
		b = append(b, `,"bases_since":`...)
		b = strconv.AppendUint(b, p.since, 10)
		if p.salted {
			b = append(b, `,"bases_salt":`...)
			b = strconv.AppendUint(b, uint64(p.salt), 10)
		}
	}
	return append(b, '}')
}
