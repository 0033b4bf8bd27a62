package count

import (
	"bytes"
	"strings"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// Part is how an event takes part in delta compression (protocol section 3.6). Nothing but the
// event and the rules of its channel decide, so that it is the same on all gateways, for what
// comes from the feed and for what is read from the log.
type Part uint8

const (
	// Plain: it travels without markers, is not counted and is no base.
	Plain Part = iota
	// Tracked: it has a number, is counted and becomes a base.
	Tracked
	// Poisoned: as plain, and nothing after it starts from what was before.
	Poisoned
)

// maxTracked is the largest data in bytes that takes part.
const maxTracked = 1 << 20

// PartOf judges an event of a channel. shape is that of its data and value its conflation value,
// both as the rules say.
func PartOf(ev *broker.Event, channel, value string, shape delta.Shape, rules *app.Delta) Part {
	switch {
	case !rules.Enabled:
		return Plain
	case poisoned(ev, channel, value, rules.DeliverTags):
		return Poisoned
	case ev.Delta == broker.DeltaNever, shape == delta.Empty, shape == delta.Scalar, len(ev.Data) > maxTracked:
		return Plain
	case ev.Delta == broker.DeltaAlways, len(ev.Data) >= rules.MinSize:
		return Tracked
	}
	// The V1 text decides for both dialects: all sockets share the count and the bases.
	f := pusher.EventFrame{Event: ev.Name, Channel: channel, Data: ev.Data, EmbedData: shape == delta.Structure, UserID: ev.UserID}
	var short [512]byte
	if len(pusher.AppendBare(short[:0], pusher.V1, &f)) < rules.MinSize {
		return Plain
	}
	return Tracked
}

// oldMarkers are names that some clients look for anywhere in the text of a frame, and cut out.
var oldMarkers = [...]string{"__delta_seq", "__conflation_key"}

// poisoned tells whether a frame of the event, in whatever dialect and form, has an old marker in
// its text. Escapes of JSON neither make one nor break one, so the parts can be searched as they are.
func poisoned(ev *broker.Event, channel, value string, tags bool) bool {
	if poisons(ev.Name) || poisons(channel) || poisons(value) || poisons(ev.UserID) || poisons(ev.MessageID) {
		return true
	}
	if tags {
		for k, v := range ev.Tags {
			if poisons(k) || poisons(v) {
				return true
			}
		}
	}
	return poisonous(ev.Data) || poisonous(ev.Extras)
}

func poisons(part string) bool {
	return len(part) >= len(oldMarkers[0]) && (strings.Contains(part, oldMarkers[0]) || strings.Contains(part, oldMarkers[1]))
}

// poisonous is poisons for what may be large: nearly always one look is enough.
func poisonous(part []byte) bool {
	at := bytes.Index(part, []byte("__"))
	return at >= 0 && (bytes.Contains(part[at:], []byte(oldMarkers[0])) || bytes.Contains(part[at:], []byte(oldMarkers[1])))
}
