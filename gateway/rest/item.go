package rest

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// appendItem appends one event of the history (protocol section 5.6). The delta flag and the conflation key of
// the publisher are beside the frame, so that the event can be published again unchanged. Without tags the frame
// is the one that subscribers get if the app does not deliver tags.
func appendItem(dst []byte, channel string, p *broker.Publication, tags bool) []byte {
	id := p.ID()
	dst = append(dst, `{"stream_id":`...)
	dst = pusher.AppendString(dst, p.Epoch)
	dst = append(dst, `,"serial":`...)
	dst = strconv.AppendUint(dst, p.Offset, 10)
	dst = append(dst, `,"published_at_ms":`...)
	dst = strconv.AppendInt(dst, p.Time.UnixMilli(), 10)
	dst = append(dst, `,"message_id":`...)
	dst = pusher.AppendString(dst, id)
	dst = append(dst, `,"event_name":`...)
	dst = pusher.AppendString(dst, strings.ToValidUTF8(p.Name, "\ufffd"))
	dst = append(dst, `,"operation_kind":"append","payload_size_bytes":`...)
	dst = strconv.AppendInt(dst, int64(len(p.Data)), 10)
	if p.HasKey && len(p.ConflationKey) <= maxConflationKey && utf8.ValidString(p.ConflationKey) {
		dst = append(dst, `,"conflation_key":`...)
		dst = pusher.AppendString(dst, p.ConflationKey)
	}
	switch p.Delta {
	case broker.DeltaNever:
		dst = append(dst, `,"delta":false`...)
	case broker.DeltaAlways:
		dst = append(dst, `,"delta":true`...)
	}
	if p.Skipped != "" {
		dst = append(dst, `,"skipped":`...)
		dst = pusher.AppendString(dst, strings.ToValidUTF8(p.Skipped, "\ufffd"))
	}
	f := pusher.EventFrame{
		Event: p.Name, Channel: channel, Data: p.Data, UserID: p.UserID, Tags: p.Tags,
		MessageID: id, StreamID: p.Epoch, Serial: p.Offset, Extras: p.Extras,
	}
	if !tags {
		f.Tags = nil
	}
	dst = append(dst, `,"message":`...)
	dst = pusher.AppendBare(dst, pusher.V2, &f)
	return append(dst, '}')
}

// within returns how many of the first events fit into most bytes as items, at least one.
func within(most int, channel string, publications []*broker.Publication, tags bool) int {
	var item []byte
	for i, p := range publications {
		item = appendItem(item[:0], channel, p, tags)
		if most -= len(item); i > 0 && most < 0 {
			return i
		}
	}
	return len(publications)
}

// appendItems appends events as a JSON array.
func appendItems(dst []byte, channel string, publications []*broker.Publication, tags bool) []byte {
	size := 2
	for _, p := range publications {
		// Most data is a JSON text, in which every quote is escaped.
		size += 512 + len(channel) + p.Bytes() + len(p.Data)/4
	}
	dst = append(slices.Grow(dst, size), '[')
	for i, p := range publications {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendItem(dst, channel, p, tags)
	}
	return append(dst, ']')
}
