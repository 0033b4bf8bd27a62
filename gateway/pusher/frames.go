package pusher

import (
	"encoding/base64"
	"sort"
	"strconv"
)

// EventFrame is the content of an event frame, in whatever form. Strings and slices are only read. Members with
// zero values are omitted.
type EventFrame struct {
	Event, Channel string
	// Data is the publisher's data string.
	Data []byte
	// EmbedData writes Data as JSON instead of as a string (protocol section
	// 3.7). Data must then be a valid JSON object or array.
	EmbedData bool
	UserID    string
	// Tags, MessageID, StreamID, Serial and Extras are omitted on V1.
	Tags      map[string]string
	MessageID string
	StreamID  string
	Serial    uint64
	Extras    []byte
}

// Mark is the addition that makes a bare frame a full frame of a subscription with deltas (protocol section
// 3.7).
type Mark struct {
	// Sequence is the number of the publication, below 2^31.
	Sequence uint32
	// Keyed adds Key as conflation_key, also when it is empty.
	Keyed bool
	Key   string
}

// AppendBare appends the bare text of an event frame.
func AppendBare(dst []byte, d Dialect, f *EventFrame) []byte {
	return append(appendOpen(dst, d, f), '}')
}

// AppendMarked appends the full text with its markers last.
func AppendMarked(dst []byte, d Dialect, f *EventFrame, m Mark) []byte {
	dst = appendOpen(dst, d, f)
	dst = append(dst, `,"sequence":`...)
	dst = strconv.AppendUint(dst, uint64(m.Sequence), 10)
	if m.Keyed {
		dst = append(dst, `,"conflation_key":`...)
		dst = AppendString(dst, m.Key)
	}
	return append(dst, '}')
}

func appendOpen(dst []byte, d Dialect, f *EventFrame) []byte {
	dst = append(dst, `{"event":`...)
	dst = AppendString(dst, f.Event)
	dst = append(dst, `,"channel":`...)
	dst = AppendString(dst, f.Channel)
	dst = append(dst, `,"data":`...)
	if f.EmbedData {
		dst = append(dst, f.Data...)
	} else {
		dst = AppendString(dst, f.Data)
	}
	if f.UserID != "" {
		dst = append(dst, `,"user_id":`...)
		dst = AppendString(dst, f.UserID)
	}
	if d == V1 {
		return dst
	}
	if len(f.Tags) > 0 {
		dst = append(dst, `,"tags":`...)
		dst = appendTags(dst, f.Tags)
	}
	dst = appendIDs(dst, f)
	if len(f.Extras) > 0 {
		dst = append(dst, `,"extras":`...)
		dst = append(dst, f.Extras...)
	}
	return dst
}

// appendTags writes the tags in byte order of their keys, because a map's own
// order would differ between nodes and ruin delta bases.
func appendTags(dst []byte, tags map[string]string) []byte {
	keys := make([]string, 0, len(tags))
	for k := range tags {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for i, k := range keys {
		if i == 0 {
			dst = append(dst, '{')
		} else {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, k)
		dst = append(dst, ':')
		dst = AppendString(dst, tags[k])
	}
	return append(dst, '}')
}

func appendIDs(dst []byte, f *EventFrame) []byte {
	if f.MessageID != "" {
		dst = append(dst, `,"message_id":`...)
		dst = AppendString(dst, f.MessageID)
	}
	if f.StreamID != "" {
		dst = append(dst, `,"stream_id":`...)
		dst = AppendString(dst, f.StreamID)
		dst = append(dst, `,"serial":`...)
		dst = strconv.AppendUint(dst, f.Serial, 10)
	}
	return dst
}

// AppendDelta appends a delta frame. The client applies it to the marked text numbered base, and gets the marked
// text of f with m. delta is the raw delta, and algorithm its name on the wire.
func AppendDelta(dst []byte, d Dialect, f *EventFrame, m Mark, algorithm string, base uint32, delta []byte) []byte {
	dst = append(dst, `{"event":"`...)
	dst = append(dst, d.Prefix()...)
	dst = append(dst, `delta","channel":`...)
	dst = AppendString(dst, f.Channel)
	dst = append(dst, `,"data":{"event":`...)
	dst = AppendString(dst, f.Event)
	dst = append(dst, `,"delta":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, delta)
	dst = append(dst, `","seq":`...)
	dst = strconv.AppendUint(dst, uint64(m.Sequence), 10)
	dst = append(dst, `,"algorithm":"`...)
	dst = append(dst, algorithm...)
	dst = append(dst, '"')
	if m.Keyed && m.Key != "" {
		dst = append(dst, `,"conflation_key":`...)
		dst = AppendString(dst, m.Key)
	}
	dst = append(dst, `,"base_index":`...)
	dst = strconv.AppendUint(dst, uint64(base), 10)
	dst = append(dst, '}')
	if d == V2 {
		dst = appendIDs(dst, f)
	}
	return append(dst, '}')
}

// Control is a protocol frame for one socket. Either Text or Object is used: Text is sent as a JSON string
// (double encoding), Object as it is. Without both, the data is a string with an empty object, because some
// clients parse the data of every frame.
type Control struct {
	// Event is the name without its prefix.
	Event string
	// Internal selects the internal prefix.
	Internal bool
	Channel  string
	Text     string
	Object   []byte
	// MessageID, StreamID and Serial are sent on V2. StreamID and Serial are sent together, if StreamID is set,
	// also in event streams.
	MessageID, StreamID string
	Serial              uint64
}

// AppendControl appends the text of a protocol frame.
func AppendControl(dst []byte, d Dialect, c *Control) []byte {
	if d == Events {
		return appendControlEvent(dst, c)
	}
	dst = append(dst, `{"event":"`...)
	if c.Internal {
		dst = append(dst, d.InternalPrefix()...)
	} else {
		dst = append(dst, d.Prefix()...)
	}
	dst = append(dst, c.Event...)
	dst = append(dst, '"')
	if c.Channel != "" || c.Event == "subscription_error" { // its channel may be an empty name
		dst = append(dst, `,"channel":`...)
		dst = AppendString(dst, c.Channel)
	}
	switch {
	case c.Object != nil:
		dst = append(dst, `,"data":`...)
		dst = append(dst, c.Object...)
	case c.Text != "":
		dst = append(dst, `,"data":`...)
		dst = AppendString(dst, c.Text)
	default:
		dst = append(dst, `,"data":"{}"`...)
	}
	if d == V2 {
		dst = appendIDs(dst, &EventFrame{MessageID: c.MessageID, StreamID: c.StreamID, Serial: c.Serial})
	}
	return append(dst, '}')
}

// AppendErrorData appends the data object of an error event.
func AppendErrorData(dst []byte, code ErrorCode, message string) []byte {
	dst = append(dst, `{"code":`...)
	if code == NoCode {
		dst = append(dst, `null`...)
	} else {
		dst = strconv.AppendInt(dst, int64(code), 10)
	}
	dst = append(dst, `,"message":`...)
	dst = AppendString(dst, message)
	return append(dst, '}')
}

// AppendConflatedData appends the data of a `conflated` event: the number of publications that were skipped for
// newer ones of the same conflation value, because the socket did not read fast enough, and the offsets of the
// first and the last of them.
func AppendConflatedData(dst []byte, skipped int, first, last uint64) []byte {
	dst = strconv.AppendInt(append(dst, `{"skipped":`...), int64(skipped), 10)
	dst = strconv.AppendUint(append(dst, `,"first_serial":`...), first, 10)
	dst = strconv.AppendUint(append(dst, `,"last_serial":`...), last, 10)
	return append(dst, '}')
}
