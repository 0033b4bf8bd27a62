package streams

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/sluicehq/sluice/broker"
)

// Headers of a message. Every publisher may set those of the first group. Those of the second group are written by gateways,
// and count only with a valid proof.
const (
	headerEvent   = "Event"
	headerTags    = "Tags"
	headerKey     = "Conflation-Key"
	headerDelta   = "Delta"
	headerExclude = "Exclude-Socket"

	headerUser    = "User-Id"
	headerMessage = "Message-Id"
	headerExtras  = "Extras"
	headerOrigin  = "Origin"
	headerNode    = "Node"
)

const (
	// usualLines is the number of headers, with the proof, that nearly all events have at most.
	usualLines   = 8
	maxEventName = 200
	maxTags      = 32
	maxTagKey    = 256
	maxTagValue  = 1024
	// maxID is in bytes: the id of a user has 128 characters of any alphabet.
	maxID = 4 * 128
)

// encode writes an event in the form that `nats pub` uses as well.
func encode(subject string, ev *broker.Event, dedup string) (*nats.Msg, error) {
	// One allocation holds the message and the values of its headers.
	made := &struct {
		nats.Msg
		values [usualLines]string
	}{Msg: nats.Msg{Subject: subject, Header: make(nats.Header, usualLines), Data: ev.Data}}
	m, values := &made.Msg, made.values[:0]
	set := func(key, value string) {
		values = append(values, quote(value))
		last := len(values)
		m.Header[key] = values[last-1 : last : last]
	}
	put := func(key, value string) {
		if value != "" {
			set(key, value)
		}
	}
	put(nats.MsgIdHdr, dedup)
	put(headerEvent, ev.Name)
	if ev.HasKey {
		set(headerKey, ev.ConflationKey)
	}
	switch ev.Delta {
	case broker.DeltaNever:
		put(headerDelta, "false")
	case broker.DeltaAlways:
		put(headerDelta, "true")
	}
	put(headerExclude, ev.ExcludeSocket)
	put(headerUser, ev.UserID)
	put(headerMessage, ev.MessageID)
	put(headerNode, ev.Node)
	if len(ev.Tags) > 0 {
		b, err := json.Marshal(ev.Tags)
		if err != nil {
			return nil, fmt.Errorf("tags: %w", err)
		}
		put(headerTags, string(b))
	}
	if len(ev.Extras) > 0 {
		put(headerExtras, string(ev.Extras))
	}
	switch ev.Origin {
	case broker.OriginHTTP:
		put(headerOrigin, "http")
	case broker.OriginClient:
		put(headerOrigin, "client")
	}
	return m, nil
}

// quote encodes a text for a header line. Most texts are unchanged. A text that is empty, has control characters or a space
// at either end, or begins with a quotation mark is encoded as a Go string literal.
func quote(v string) string {
	plain := v != "" && v[0] != '"' && strings.TrimSpace(v) == v
	for i := 0; plain && i < len(v); i++ {
		plain = v[i] >= ' ' && v[i] != 0x7f
	}
	if plain {
		return v
	}
	return strconv.Quote(v)
}

func unquote(v string) string {
	if len(v) > 1 && v[0] == '"' {
		if u, err := strconv.Unquote(v); err == nil {
			return u
		}
	}
	return v
}

// text returns the last value of one of our own headers.
func text(h nats.Header, key string) string { return unquote(last(h, key)) }

// decode reads an event. What cannot be delivered is an event with a reason.
func decode(h nats.Header, data []byte, maxData int) (ev broker.Event, skipped string) {
	ev = broker.Event{Name: text(h, headerEvent), Data: data}
	if ev.Name == "" {
		ev.Name = broker.DefaultEventName
	}
	skip := func(format string, args ...any) (broker.Event, string) {
		return broker.Event{Name: printable(ev.Name)}, fmt.Sprintf(format, args...)
	}
	switch {
	case len(data) > maxData:
		return skip("data has %d bytes, the limit is %d", len(data), maxData)
	case !utf8.Valid(data):
		return skip("data is not UTF-8")
	case len(ev.Name) > maxEventName:
		return skip("event name has %d bytes, the limit is %d", len(ev.Name), maxEventName)
	case !utf8.ValidString(ev.Name):
		return skip("event name is not UTF-8")
	}
	for _, p := range [...]string{"pusher:", "pusher_internal:", "sockudo:", "sockudo_internal:"} {
		if strings.HasPrefix(ev.Name, p) {
			return skip("event names that start with %s are reserved", p)
		}
	}
	if v := h[headerKey]; len(v) > 0 {
		ev.HasKey = true
		key := unquote(v[len(v)-1])
		if !utf8.ValidString(key) {
			return skip("header %s is not UTF-8", headerKey)
		}
		ev.ConflationKey = key
	}
	switch strings.ToLower(last(h, headerDelta)) {
	case "false":
		ev.Delta = broker.DeltaNever
	case "true":
		ev.Delta = broker.DeltaAlways
	}
	for _, f := range []struct {
		key string
		to  *string
	}{{headerExclude, &ev.ExcludeSocket}, {headerUser, &ev.UserID}, {headerMessage, &ev.MessageID}, {headerNode, &ev.Node}} {
		*f.to = text(h, f.key)
		if len(*f.to) > maxID || !utf8.ValidString(*f.to) {
			return skip("header %s is longer than %d bytes or not UTF-8", f.key, maxID)
		}
	}
	if tags := text(h, headerTags); tags != "" {
		var err error
		if ev.Tags, err = parseTags(tags); err != nil {
			return skip("header %s: %v", headerTags, err)
		}
	}
	if extras := text(h, headerExtras); extras != "" {
		if !json.Valid([]byte(extras)) || extras[0] != '{' || !utf8.ValidString(extras) {
			return skip("header %s is not a JSON object", headerExtras)
		}
		ev.Extras = []byte(extras)
	}
	switch last(h, headerOrigin) {
	case "http":
		ev.Origin = broker.OriginHTTP
	case "client":
		ev.Origin = broker.OriginClient
	}
	return ev, ""
}

func parseTags(text string) (map[string]string, error) {
	var tags map[string]string
	if err := json.Unmarshal([]byte(text), &tags); err != nil || !utf8.ValidString(text) {
		return nil, errors.New("not a JSON object of strings")
	}
	if strings.Count(text, `"`) != 4*len(tags) {
		// A name is there twice, or a quotation mark or null.
		tags = firstTags(text)
	}
	if len(tags) > maxTags {
		return nil, fmt.Errorf("%d tags, the limit is %d", len(tags), maxTags)
	}
	for k, v := range tags {
		if k == "" || len(k) > maxTagKey || len(v) > maxTagValue {
			return nil, fmt.Errorf("tag %.32q: a key has 1 to %d bytes, a value up to %d", k, maxTagKey, maxTagValue)
		}
	}
	return tags, nil
}

// firstTags reads tags that are known to be valid. Of those of one name the first counts, as everywhere.
func firstTags(text string) map[string]string {
	tags := map[string]string{}
	d := json.NewDecoder(strings.NewReader(text))
	_, _ = d.Token() // the bracket
	for d.More() {
		name, _ := d.Token()
		value, _ := d.Token()
		k, _ := name.(string)
		if _, again := tags[k]; !again {
			tags[k], _ = value.(string) // null is an empty one
		}
	}
	return tags
}

// printable shortens a name and replaces invalid UTF-8, for a history entry.
func printable(s string) string {
	if len(s) > maxEventName {
		s = s[:maxEventName]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// publication converts a message into a publication. A message that cannot be read or delivered becomes a skipped
// publication with the reason, so that its offset is not missing. Claims without a valid proof are left out.
func (l *Log) publication(a *appLog, m *stored, epoch string) *broker.Publication {
	p := &broker.Publication{Position: broker.Position{Epoch: epoch, Offset: m.offset}, Prev: m.prev, Time: m.time}
	if p.Skipped = m.unreadable; p.Skipped != "" {
		p.Event = broker.Event{Name: broker.DefaultEventName}
		return p
	}
	h := m.header
	if claiming(h) && !l.believes(a, m.subject, h, m.data) {
		l.stats.Unproven.Add(1)
		h = disclaimed(h)
	}
	p.Event, p.Skipped = decode(h, m.data, l.maxData())
	return p
}
