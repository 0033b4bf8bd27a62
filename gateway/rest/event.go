package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

// input is an event as a publisher sends it (protocol section 2.3).
type input struct {
	Name           string                     `json:"name"`
	Data           json.RawMessage            `json:"data"`
	Channels       []string                   `json:"channels"`
	Channel        string                     `json:"channel"`
	SocketID       string                     `json:"socket_id"`
	Info           infoText                   `json:"info"`
	Tags           map[string]json.RawMessage `json:"tags"`
	Delta          *bool                      `json:"delta"`
	IdempotencyKey *string                    `json:"idempotency_key"`
	MessageID      string                     `json:"message_id"`
	ConflationKey  *string                    `json:"conflation_key"`
	Extras         json.RawMessage            `json:"extras"`
	// echo lets the socket of the sender have the event, too.
	echo bool
}

// infoText is a list of attributes: a text with commas, or a list as it is in queries.
type infoText string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *infoText) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '[' {
		return json.Unmarshal(b, (*string)(t))
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	*t = infoText(strings.Join(list, ","))
	return nil
}

const (
	maxMessageID      = 128
	maxConflationKey  = 256
	maxIdempotencyKey = 128
	maxTags           = 32
	maxTagKey         = 256
	maxTagValue       = 1024
	maxExtras         = 16 << 10
)

// decode reads a JSON body. encoding/json would replace what is not UTF-8; clients
// rebuild frames from text, so it is refused instead.
func decode(body []byte, into any) error {
	if !utf8.Valid(body) {
		return invalid("the body is not UTF-8")
	}
	if err := json.Unmarshal(body, into); err != nil {
		return invalid("the body is not the JSON that is expected: %v", err)
	}
	return nil
}

// accepted is an event that passed all checks.
type accepted struct {
	event    *broker.Event
	channels []string
	info     attributes
	// receipts are those of the channels, once the event is stored.
	receipts []broker.Receipt
}

// accept checks everything about an event that comes in at a node. header is the
// idempotency key of the whole request, empty if there is none.
func (in *input) accept(node string, a *app.App, header string) (*accepted, error) {
	if err := pusher.CheckEventName(in.Name, a.Limits.MaxEventNameLength); err != nil {
		if len(in.Name) > a.Limits.MaxEventNameLength {
			return nil, exceeded(limitEventName, "name: %v", err)
		}
		return nil, invalid("name: %v", err)
	}
	out := &accepted{event: &broker.Event{Name: in.Name, MessageID: in.MessageID, Origin: broker.OriginHTTP, Node: node}}
	for _, step := range []func(*input, *app.App, *accepted) error{
		(*input).acceptChannels, (*input).acceptData, (*input).acceptTags, (*input).acceptExtras, (*input).acceptRest,
	} {
		if err := step(in, a, out); err != nil {
			return nil, err
		}
	}
	key, err := in.key(header)
	out.event.DedupID = key
	return out, err
}

func (in *input) acceptChannels(a *app.App, out *accepted) error {
	channels := in.Channels
	if channels == nil && in.Channel != "" {
		channels = []string{in.Channel}
	}
	if len(channels) == 0 {
		return invalid("channel or channels is missing")
	}
	if limit := a.Limits.MaxChannelsPerEvent; len(channels) > limit {
		return exceeded(limitChannels, "channels has %d entries, the limit is %d", len(channels), limit)
	}
	for _, c := range channels {
		if err := pusher.CheckChannel(c, a.Limits.MaxChannelLength); err != nil {
			return invalid("channels: %v", err)
		}
		if !slices.Contains(out.channels, c) {
			out.channels = append(out.channels, c)
		}
	}
	return nil
}

// acceptData takes the data string; any other JSON value stands for its text.
func (in *input) acceptData(a *app.App, out *accepted) error {
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

func (in *input) acceptTags(_ *app.App, out *accepted) error {
	if len(in.Tags) > maxTags {
		return invalid("tags has %d entries, the limit is %d", len(in.Tags), maxTags)
	}
	for k, raw := range in.Tags {
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

// acceptExtras checks the members that mean something here and passes the others
// on as they are (protocol section 5.8).
func (in *input) acceptExtras(_ *app.App, out *accepted) error {
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
	if err := json.Unmarshal(raw, &e); err != nil {
		return invalid("extras: %v", err)
	}
	if e.Replay != nil {
		if err := checkReplay(e.Replay); err != nil {
			return err
		}
	}
	// The mark of a replay comes on top, so that whatever was published can be again.
	if size := len(raw) - len(e.Replay); size > maxExtras {
		return invalid("extras has %d bytes, the limit is %d", size, maxExtras)
	}
	for k, v := range e.Headers {
		switch v.(type) {
		case string, float64, bool:
		default:
			return invalid("extras.headers: the value of %.64q is not a string, number or boolean", k)
		}
	}
	if e.Ephemeral != nil && *e.Ephemeral {
		return fail(http.StatusUnprocessableEntity, "feature_disabled", "extras.ephemeral: ephemeral events are not offered by this release")
	}
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
	return nil
}

// maxReplay is the largest mark of a replay.
const maxReplay = 2048

// checkReplay checks the mark of an event that was published before (extras.replay). It is
// the word of the publisher, as all extras are.
func checkReplay(raw json.RawMessage) error {
	var mark struct {
		Channel  *string `json:"channel"`
		StreamID *string `json:"stream_id"`
		Serial   *uint64 `json:"serial"`
		Time     *int64  `json:"published_at_ms"`
	}
	switch err := json.Unmarshal(raw, &mark); {
	case err != nil:
		return invalid("extras.replay: %v", err)
	case len(raw) > maxReplay:
		return invalid("extras.replay has %d bytes, the limit is %d", len(raw), maxReplay)
	case mark.Channel == nil || mark.StreamID == nil || mark.Serial == nil || mark.Time == nil:
		return invalid("extras.replay must name channel, stream_id, serial and published_at_ms")
	}
	return nil
}

func (in *input) acceptRest(_ *app.App, out *accepted) error {
	if in.SocketID != "" {
		if err := pusher.CheckSocketID(in.SocketID); err != nil {
			return invalid("socket_id: %v", err)
		}
		if !in.echo {
			out.event.ExcludeSocket = in.SocketID
		}
	}
	if in.Delta != nil {
		out.event.Delta = broker.DeltaNever
		if *in.Delta {
			out.event.Delta = broker.DeltaAlways
		}
	}
	if len(in.MessageID) > maxMessageID {
		return invalid("message_id has %d bytes, the limit is %d", len(in.MessageID), maxMessageID)
	}
	if in.ConflationKey != nil {
		if len(*in.ConflationKey) > maxConflationKey {
			return invalid("conflation_key has %d bytes, the limit is %d", len(*in.ConflationKey), maxConflationKey)
		}
		out.event.ConflationKey, out.event.HasKey = *in.ConflationKey, true
	}
	var err error
	out.info, err = parseInfo(string(in.Info), asks{position: true})
	return err
}

// key is the idempotency key: the event's own, else that of the request.
func (in *input) key(header string) (string, error) {
	key := header
	if in.IdempotencyKey != nil {
		key = *in.IdempotencyKey
		if key == "" {
			return "", invalid("idempotency_key is empty")
		}
	}
	if len(key) > maxIdempotencyKey {
		return "", invalid("idempotency_key has %d bytes, the limit is %d", len(key), maxIdempotencyKey)
	}
	return key, nil
}
