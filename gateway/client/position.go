package client

import (
	"math"
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// way is how a subscription comes to what is live.
type way uint8

const (
	direct way = iota
	resuming
	rewinding
	// collecting: it begins with the newest event of each value.
	collecting
)

// noBases stands in place of the serial since which the bases are held.
const noBases = math.MaxUint64

// mark is a place in a stream of events, with the id of the event there.
type mark struct {
	stream, id string
	serial     uint64
}

// position is where the client is in one channel (protocol section 5.7).
type position struct {
	// seen is the place up to which nothing is missing. Its stream is empty as long as there
	// is no such place.
	seen mark
	// ahead is the newest event that came while something before it was still to come.
	ahead mark
	// attach is where the subscription begins on the socket; its stream is empty before the
	// server has granted it.
	attach mark
	way    way
	// snapshot: the server begins the subscription with a snapshot, unless it is resumed.
	snapshot bool
	// ids are those of the last events that came.
	ids recent
	// anew is set until the server grants what the caller wants anew: whatever came before is
	// no repeat then.
	anew bool
	// again is set if what it began with did not come, so that it is asked for again.
	again bool
	// since is the serial above which the bases of all events are held, for a server that
	// knew the client as socket.
	since  uint64
	socket string
	// salt is by how much the numbers of the last of them were above their serials, modulo 2^31, if
	// salted.
	salt   uint32
	salted bool
}

// take notes an event.
func (p *position) take(ev *Event) {
	at := mark{ev.StreamID, ev.MessageID, ev.Serial}
	switch {
	case ev.Form == Plain:
		// It may be a base for those who got it live, and nothing tells.
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

// number notes how the frame of an event is numbered. If that has changed, so have the texts of frames,
// and none before it is a base.
func (p *position) number(ev *Event) {
	salt := (ev.Number - uint32(ev.Serial)) & (1<<31 - 1)
	if p.salted && p.salt != salt {
		p.raise(ev.Serial - 1)
	}
	p.salt, p.salted = salt, true
}

// raise gives up the bases up to a serial.
func (p *position) raise(serial uint64) { p.since = max(p.since, serial) }

// grant notes where a subscription begins, as the success frame says.
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

// collect begins with a snapshot, whose events are no places to go on from.
func (p *position) collect() { p.way, p.seen, p.ahead = collecting, mark{}, mark{} }

// arrive ends a way: the subscription is live.
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

// fail gives up what was missed. It fills in what the gap does not say.
func (p *position) fail(g *Gap) {
	g.After, p.since = p.seen.serial, noBases
	if g.Expected == "" {
		g.Expected = p.seen.stream
	}
	switch {
	case p.way == rewinding || p.way == collecting:
		// What ends the way comes next.
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
		// Where the server goes on is not said: the next event is the first place again.
		p.seen = mark{}
	default:
		g.Live = g.Newest
		p.seen = mark{stream: g.Current, serial: g.Newest}
	}
}

// leave ends what belonged to a connection that is gone.
func (p *position) leave() {
	if p.way == collecting {
		// The rest of the snapshot did not come.
		p.seen = mark{}
	}
	p.again = p.again || p.way >= rewinding && !p.resumable()
	p.way, p.ahead, p.attach, p.snapshot = direct, mark{}, mark{}, false
}

// resumable is true if the server can be asked for what came after the position.
func (p *position) resumable() bool { return p.seen.stream != "" }

// appendTo appends the position as a member of a resume request. was is the socket that the
// request names.
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
