package count

import (
	"bytes"
	"strings"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// Part is how an event takes part in delta compression (protocol section 3.6). It depends only on the event
// and the rules of its channel. So it is the same on all gateways, for events from the feed and for those
// read from the log.
type Part uint8

const (
	// Plain: it is sent without markers, is not counted and is no base.
	Plain Part = iota
	// Tracked: it has a number, is counted and becomes a base.
	Tracked
	// Poisoned: like Plain, and later deltas do not start from earlier bases.
	Poisoned
)

// maxTracked is the largest data in bytes that takes part.
const maxTracked = 1 << 20

// PartOf returns the part of an event of a channel. shape is the shape of its data and value its conflation
// value under the rules.
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
	// The V1 text decides for both dialects, because all sockets share the count and the bases.
	f := pusher.EventFrame{Event: ev.Name, Channel: channel, Data: ev.Data, EmbedData: shape == delta.Structure, UserID: ev.UserID}
	var short [512]byte
	if len(pusher.AppendBare(short[:0], pusher.V1, &f)) < rules.MinSize {
		return Plain
	}
	return Tracked
}

// oldMarkers are names that some clients search for anywhere in the text of a frame, and cut out.
var oldMarkers = [...]string{"__delta_seq", "__conflation_key"}

// poisoned reports whether a frame of the event, in any dialect and form, has an old marker in its text.
// Escapes of JSON neither create nor break one, so the parts can be searched as they are.
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

// poisonous is poisons for data that may be large: usually one search is enough.
func poisonous(part []byte) bool {
	at := bytes.Index(part, []byte("__"))
	return at >= 0 && (bytes.Contains(part[at:], []byte(oldMarkers[0])) || bytes.Contains(part[at:], []byte(oldMarkers[1])))
}
