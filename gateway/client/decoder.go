package client

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/sluicehq/sluice/delta"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// ErrBadFrame is wrapped by errors of [Decoder.Decode] about a text that is not a frame.
var ErrBadFrame = errors.New("not a frame of the protocol")

// DeltaError says that a delta could not be decoded. The decoder has dropped the bases of the channel, and the
// server must be told so (protocol section 3.11).
type DeltaError struct {
	Channel string
	// Number is the sequence number of the lost event, and Base that of its base.
	Number, Base uint32
	// Serial is the serial of the event, 0 in the first dialect.
	Serial uint64
	Err    error
}

func (e *DeltaError) Error() string {
	return fmt.Sprintf("delta %d on %s from base %d: %v", e.Number, e.Channel, e.Base, e.Err)
}

func (e *DeltaError) Unwrap() error { return e.Err }

var (
	errNoBase    = errors.New("the base is not held")
	errAlgorithm = errors.New("unknown algorithm")
	errNumbers   = errors.New("the rebuilt frame has another number")
)

// Decoder turns the frames of one connection into events. It keeps the bases of deltas as the public client
// libraries do: by channel, conflation value and number. It is not safe for concurrent use.
type Decoder struct {
	dialect  pusher.Dialect
	bases    *bases
	maxFrame int
	// streams are the stream ids to which the bases of channels belong (second dialect).
	streams map[string]string
}

// NewDecoder returns a decoder for one dialect. maxBases bounds the bytes of its bases, and maxFrame those of a
// rebuilt frame; 0 means 64 MiB and 8 MiB.
func NewDecoder(d pusher.Dialect, maxBases, maxFrame int) *Decoder {
	if maxBases <= 0 {
		maxBases = 64 << 20
	}
	if maxFrame <= 0 {
		maxFrame = defaultFrame
	}
	return &Decoder{dialect: d, bases: newBases(maxBases), maxFrame: maxFrame, streams: map[string]string{}}
}

// Forget drops the bases of a channel.
func (d *Decoder) Forget(channel string) {
	d.bases.forget(channel)
	delete(d.streams, channel)
}

// Reset drops all bases. It is needed for a new connection, unless that resumes with the bases.
func (d *Decoder) Reset() {
	d.bases.clear()
	clear(d.streams)
}

// follow drops the bases of a channel if its stream id has changed, because the numbers then begin again.
func (d *Decoder) follow(ev *Event) {
	if ev.StreamID == "" || ev.Channel == "" || d.streams[ev.Channel] == ev.StreamID {
		return
	}
	if d.streams[ev.Channel] != "" {
		d.bases.forget(ev.Channel)
	}
	d.streams[strings.Clone(ev.Channel)] = strings.Clone(ev.StreamID)
}

// Decode decodes the text of one frame. Protocol events have form [Control], their full name, and their data as
// JSON or as the content of a string. Errors wrap [ErrBadFrame] or are a [*DeltaError].
func (d *Decoder) Decode(text string) (Event, error) {
	f, err := parse(text)
	if err != nil {
		return Event{}, err
	}
	d.follow(&f.event)
	switch {
	case f.event.Name == d.dialect.Prefix()+"delta":
		return d.rebuild(f, text)
	case strings.HasPrefix(f.event.Name, d.dialect.Prefix()), strings.HasPrefix(f.event.Name, d.dialect.InternalPrefix()):
		f.event.Form = Control
	case f.numbered:
		f.event.Form = Full
		d.bases.keep(f.event.Channel, f.event.Key, f.event.Number, text)
	}
	f.event.WireBytes = len(text)
	return f.event, nil
}

func (d *Decoder) rebuild(f frame, text string) (Event, error) {
	m := gjson.Parse(f.event.Data)
	name, key := m.Get("event").String(), m.Get("conflation_key").String()
	number, base := uint32(m.Get("seq").Uint()), uint32(m.Get("base_index").Uint())
	algorithm := m.Get("algorithm").String()
	event, err := d.apply(f.event.Channel, key, base, number, algorithm, m.Get("delta").String())
	if err != nil {
		d.bases.forget(f.event.Channel)
		return Event{}, &DeltaError{Channel: f.event.Channel, Number: number, Base: base, Serial: f.event.Serial, Err: err}
	}
	d.bases.keep(f.event.Channel, key, number, event.Frame)
	event.Form, event.WireBytes = Delta, len(text)
	event.Algorithm, event.BaseNumber = algorithm, base
	// The name in the delta frame has precedence (protocol section 3.7).
	event.Name = name
	// The ids and the serial of the delta frame are used if the rebuilt text has none.
	event.MessageID = cmp.Or(event.MessageID, f.event.MessageID)
	event.StreamID = cmp.Or(event.StreamID, f.event.StreamID)
	event.Serial = cmp.Or(event.Serial, f.event.Serial)
	return event, nil
}

func (d *Decoder) apply(channel, key string, base, number uint32, algorithm, encoded string) (Event, error) {
	from, ok := d.bases.find(channel, key, base)
	if !ok {
		return Event{}, errNoBase
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return Event{}, err
	}
	var target []byte
	switch algorithm {
	case "fossil":
		target, err = delta.ApplyFossil(nil, []byte(from), raw, d.maxFrame)
	case "xdelta3":
		target, err = delta.ApplyVCDIFF(nil, []byte(from), raw, d.maxFrame)
	default:
		err = fmt.Errorf("%w %q", errAlgorithm, algorithm)
	}
	if err != nil {
		return Event{}, err
	}
	f, err := parse(string(target))
	if err != nil {
		return Event{}, err
	}
	// VCDIFF has no checksum; a wrong base often shows in these members.
	if !f.numbered || f.event.Number != number || f.event.Channel != channel || f.event.Key != key {
		return Event{}, errNumbers
	}
	return f.event, nil
}

// frame is a parsed event frame. numbered says that it has a sequence number.
type frame struct {
	event    Event
	numbered bool
}

// parse parses a frame. Of members with the same name the first counts.
func parse(text string) (frame, error) {
	if !utf8.ValidString(text) {
		return frame{}, fmt.Errorf("%w: not UTF-8", ErrBadFrame)
	}
	if !gjson.Valid(text) {
		return frame{}, fmt.Errorf("%w: not JSON", ErrBadFrame)
	}
	v := gjson.Parse(text)
	if !v.IsObject() || v.Get("event").Type != gjson.String {
		return frame{}, fmt.Errorf("%w: no event name", ErrBadFrame)
	}
	f := frame{event: Event{Frame: text, FullBytes: len(text)}}
	var seen [16]string
	names := seen[:0]
	v.ForEach(func(name, value gjson.Result) bool {
		for _, n := range names {
			if n == name.Str {
				return true
			}
		}
		names = append(names, name.Str)
		switch name.Str {
		case "event":
			f.event.Name = value.String()
		case "channel":
			f.event.Channel = value.String()
		case "data":
			f.event.Data = value.String()
		case "user_id":
			f.event.UserID = value.String()
		case "sequence":
			f.numbered = value.Type == gjson.Number
			f.event.Number = uint32(value.Uint())
		case "conflation_key":
			f.event.Key, f.event.Keyed = value.String(), true
		case "message_id":
			f.event.MessageID = value.String()
		case "stream_id":
			f.event.StreamID = value.String()
		case "serial":
			f.event.Serial = value.Uint()
		}
		return true
	})
	return f, nil
}
