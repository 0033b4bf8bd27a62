package rest

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// This is how bodies were read before, with encoding/json. It is the twin that [FuzzBodies]
// compares with.

// Of members of one name the first counts. encoding/json takes the last, so it is not shown those behind
// the first.

// firsts returns an object without repeated members, and anything else unchanged. names are the members that
// count, nil for all. inside maps the value of a member.
func firsts(text []byte, names []string, inside func(name string, value []byte) []byte) []byte {
	if !utf8.Valid(text) || !json.Valid(text) || bytes.TrimSpace(text)[0] != '{' {
		return text
	}
	d := json.NewDecoder(bytes.NewReader(text))
	_, _ = d.Token()
	had, out := map[string]bool{}, []byte("{")
	for d.More() {
		token, _ := d.Token()
		var value json.RawMessage
		_ = d.Decode(&value)
		name := token.(string)
		known := names == nil
		for _, n := range names {
			if strings.EqualFold(n, name) {
				name, known = n, true
			}
		}
		if known && had[name] {
			continue
		}
		had[name] = known
		if known && inside != nil {
			value = inside(name, value)
		}
		written, _ := json.Marshal(name)
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, written...), ':'), value...)
	}
	return append(out, '}')
}

func firstEvent(body []byte) []byte {
	return firsts(body, eventFields, func(name string, value []byte) []byte {
		if name == "tags" {
			return firsts(value, nil, nil)
		}
		return value
	})
}

func firstBatch(body []byte) []byte {
	return firsts(body, []string{"batch"}, func(_ string, value []byte) []byte {
		var list []json.RawMessage
		if json.Unmarshal(value, &list) != nil || list == nil {
			return value
		}
		for i := range list {
			list[i] = firstEvent(list[i])
		}
		return slices.Concat([]byte("["), bytes.Join(raws(list), []byte(",")), []byte("]"))
	})
}

func raws(list []json.RawMessage) (out [][]byte) {
	for _, raw := range list {
		out = append(out, raw)
	}
	return out
}

func firstExtras(raw []byte) []byte {
	return firsts(raw, extrasFields, func(name string, value []byte) []byte {
		if name == "headers" {
			return firsts(value, nil, nil)
		}
		return value
	})
}

// twinInput is [input] as encoding/json reads it.
type twinInput struct {
	Name           string                     `json:"name"`
	Data           json.RawMessage            `json:"data"`
	Channels       []string                   `json:"channels"`
	Channel        string                     `json:"channel"`
	SocketID       string                     `json:"socket_id"`
	Info           twinInfo                   `json:"info"`
	Tags           map[string]json.RawMessage `json:"tags"`
	Delta          *bool                      `json:"delta"`
	IdempotencyKey *string                    `json:"idempotency_key"`
	MessageID      string                     `json:"message_id"`
	ConflationKey  *string                    `json:"conflation_key"`
	Extras         json.RawMessage            `json:"extras"`
	// echo lets the sending socket have the event as well.
	echo bool
}

// twinInfo is a list of attributes: a string with commas, or an array as in queries.
type twinInfo string

func (t *twinInfo) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '[' {
		return json.Unmarshal(b, (*string)(t))
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	*t = twinInfo(strings.Join(list, ","))
	return nil
}

// acceptData takes the string in data. Any other JSON value is taken as its text.
func (in *twinInput) acceptData(a *app.App, out *accepted) error {
	raw := bytes.TrimSpace(in.Data)
	if len(raw) == 0 {
		return invalid("data is missing")
	}
	data := []byte(raw)
	if raw[0] == '"' {
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return invalid("data: %v", err)
		}
		data = []byte(s)
	}
	if limit := a.Limits.MaxEventPayload; len(data) > limit {
		return crossed(limitPayload, http.StatusRequestEntityTooLarge, "payload_too_large", "data has %d bytes, the limit is %d", len(data), limit)
	}
	out.event.Data = data
	return nil
}

func (in *twinInput) acceptTags(_ *app.App, out *accepted) error {
	if len(in.Tags) > maxTags {
		return invalid("tags has %d entries, the limit is %d", len(in.Tags), maxTags)
	}
	for _, k := range slices.Sorted(maps.Keys(in.Tags)) {
		raw := in.Tags[k]
		var v *string
		if json.Unmarshal(raw, &v) != nil || v == nil {
			return invalid("tags: the value of %.64q is not a string", k)
		}
		if k == "" || len(k) > maxTagKey || len(*v) > maxTagValue {
			return invalid("tags: %.64q: a key has 1 to %d bytes, a value up to %d", k, maxTagKey, maxTagValue)
		}
		if out.event.Tags == nil {
			out.event.Tags = make(map[string]string, len(in.Tags))
		}
		out.event.Tags[k] = *v
	}
	return nil
}

// acceptExtras checks the members that have a meaning here and passes the others on unchanged (protocol
// section 5.8).
func (in *twinInput) acceptExtras(_ *app.App, out *accepted) error {
	raw := bytes.TrimSpace(in.Extras)
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var e struct {
		Headers        map[string]any `json:"headers"`
		Ephemeral      *bool          `json:"ephemeral"`
		Echo           *bool          `json:"echo"`
		IdempotencyKey *string        `json:"idempotencyKey"`
		SnakeKey       *string        `json:"idempotency_key"`
		// Replay says that the event was published before, and where.
		Replay json.RawMessage `json:"replay"`
	}
	if err := json.Unmarshal(firstExtras(raw), &e); err != nil {
		return invalid("extras: %v", pusher.InPlainWords(err))
	}
	if e.Replay != nil {
		if err := twinCheckReplay(e.Replay); err != nil {
			return err
		}
	}
	// The replay mark is not counted, so that any stored event can be published again.
	if size := ownSize(raw, e.Replay); size > maxExtras {
		return invalid("extras has %d bytes, the limit is %d", size, maxExtras)
	}
	for _, k := range slices.Sorted(maps.Keys(e.Headers)) {
		switch e.Headers[k].(type) {
		case string, float64, bool:
		default:
			return invalid("extras.headers: the value of %.64q is not a string, number or boolean", k)
		}
	}
	out.ephemeral = e.Ephemeral != nil && *e.Ephemeral
	in.echo = e.Echo != nil && *e.Echo
	if in.IdempotencyKey == nil {
		in.IdempotencyKey = e.IdempotencyKey
	}
	if in.IdempotencyKey == nil {
		in.IdempotencyKey = e.SnakeKey
	}
	var text bytes.Buffer
	if err := json.Compact(&text, raw); err != nil {
		return invalid("extras: %v", err)
	}
	out.event.Extras = text.Bytes()
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return err
	}
	for name := range members {
		if strings.EqualFold(name, "idempotencyKey") || strings.EqualFold(name, "idempotency_key") {
			out.event.Extras = withoutKeys(out.event.Extras)
			break
		}
	}
	return nil
}

// twinCheckReplay checks extras.replay, the mark of an event that was published before. Like all extras, it
// is only what the publisher claims.
func twinCheckReplay(raw json.RawMessage) error {
	var mark struct {
		Channel  *string `json:"channel"`
		StreamID *string `json:"stream_id"`
		Serial   *uint64 `json:"serial"`
		Time     *int64  `json:"published_at_ms"`
	}
	switch err := json.Unmarshal(firsts(raw, []string{"channel", "stream_id", "serial", "published_at_ms"}, nil), &mark); {
	case err != nil:
		return invalid("extras.replay: %v", pusher.InPlainWords(err))
	case len(raw) > maxReplay:
		return invalid("extras.replay has %d bytes, the limit is %d", len(raw), maxReplay)
	case mark.Channel == nil || mark.StreamID == nil || mark.Serial == nil || mark.Time == nil:
		return invalid("extras.replay must name channel, stream_id, serial and published_at_ms")
	}
	return nil
}

// plain returns what the twin has read, for the checks that do not depend on JSON.
func (in *twinInput) plain() *input {
	return &input{
		Name: in.Name, Channels: in.Channels, Channel: in.Channel, SocketID: in.SocketID, Info: string(in.Info), Delta: in.Delta,
		IdempotencyKey: in.IdempotencyKey, MessageID: in.MessageID, ConflationKey: in.ConflationKey, echo: in.echo,
	}
}

// accept is that of [input], in the same order.
func (in *twinInput) accept(node string, a *app.App, header string) (*accepted, error) {
	out := &accepted{}
	err := in.plain().acceptName(node, a, out)
	if err != nil {
		return nil, err
	}
	for _, step := range []func() error{
		func() error { return in.plain().acceptChannels(a, out) },
		func() error { return in.acceptData(a, out) },
		func() error { return in.acceptTags(a, out) },
		func() error { return in.acceptExtras(a, out) },
		func() error { return in.plain().acceptRest(a, out) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	out.event.DedupID, err = in.plain().key(header, a.Limits.IdempotencyKey())
	return out, err
}
