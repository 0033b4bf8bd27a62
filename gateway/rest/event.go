package rest

import (
	"bytes"
	"maps"
	"math"
	"net/http"
	"slices"

	"github.com/sluicehq/sluice/broker"
	"github.com/sluicehq/sluice/gateway/app"
	"github.com/sluicehq/sluice/gateway/pusher"
)

const (
	maxMessageID     = 128
	maxConflationKey = 256
	maxTags          = 32
	maxTagKey        = 256
	maxTagValue      = 1024
)

// accepted is an event that passed all checks.
type accepted struct {
	event    *broker.Event
	channels []string
	// own is the event, and single the room for its channel if it has one.
	own    broker.Event
	single [1]string
	info   attributes
	// ephemeral: whoever is connected gets it, and nobody keeps it.
	ephemeral bool
	// receipts are those of the channels, once the event is stored.
	receipts []broker.Receipt
}

// acceptName begins with what an event must have before anything else is looked at.
func (in *input) acceptName(node string, a *app.App, out *accepted) error {
	if err := pusher.CheckEventName(in.Name, a.Limits.MaxEventNameLength); err != nil {
		if len(in.Name) > a.Limits.MaxEventNameLength {
			return exceeded(limitEventName, "name: %v", err)
		}
		return invalid("name: %v", err)
	}
	out.own = broker.Event{Name: in.Name, MessageID: in.MessageID, Origin: broker.OriginHTTP, Node: node}
	out.event = &out.own
	return nil
}

// accept checks everything about an event that comes in at a node, and fills in out, which is
// empty. header is the idempotency key of the whole request, empty if there is none.
func (in *input) accept(node string, a *app.App, header string, out *accepted) error {
	if err := in.acceptName(node, a, out); err != nil {
		return err
	}
	for _, step := range [...]func(*input, *app.App, *accepted) error{
		(*input).acceptChannels, (*input).acceptData, (*input).acceptTags, (*input).acceptExtras, (*input).acceptRest,
	} {
		if err := step(in, a, out); err != nil {
			return err
		}
	}
	var err error
	out.event.DedupID, err = in.key(header, a.Limits.IdempotencyKey())
	return err
}

// CheckEvent says why no app takes an event, however high its limits are, and nil if that depends on the app. body is
// that of a request that publishes it, and is written over. The errors are those that the request would get.
func CheckEvent(body []byte) error {
	const most = math.MaxInt
	unlimited := app.App{Limits: app.Limits{MaxEventPayload: most, MaxChannelsPerEvent: most, MaxEventNameLength: most, MaxChannelLength: most}}
	var in input
	if err := decodeEvent(body, &unlimited.Limits, &in); err != nil {
		return err
	}
	return in.accept("", &unlimited, "", &accepted{})
}

func (in *input) acceptChannels(a *app.App, out *accepted) error {
	channels := in.Channels
	if channels == nil && in.Channel != "" {
		out.single[0] = in.Channel
		channels = out.single[:]
	}
	n := len(channels) + in.moreChannels
	if n == 0 {
		return invalid("channel or channels is missing")
	}
	if limit := a.Limits.MaxChannelsPerEvent; n > limit {
		return exceeded(limitChannels, "channels has %d entries, the limit is %d", n, limit)
	}
	for _, c := range channels {
		if err := pusher.CheckChannel(c, a.Limits.MaxChannelLength); err != nil {
			return invalid("channels: %v", err)
		}
	}
	if len(channels) == 1 {
		out.channels = channels
		return nil
	}
	for _, c := range channels {
		if !slices.Contains(out.channels, c) {
			out.channels = append(out.channels, c)
		}
	}
	return nil
}

// acceptData takes the data string; any other JSON value stands for its text. Escapes are
// undone where they stand in the body, which is the request's own, so nothing is copied.
func (in *input) acceptData(a *app.App, out *accepted) error {
	data := in.Data
	if len(data) == 0 {
		return invalid("data is missing")
	}
	if data[0] == '"' {
		inner := data[1 : len(data)-1]
		if data = inner; bytes.IndexByte(inner, '\\') >= 0 {
			data = unescape(inner, inner)
		}
	}
	if limit := a.Limits.MaxEventPayload; len(data) > limit {
		return crossed(limitPayload, http.StatusRequestEntityTooLarge, "payload_too_large", "data has %d bytes, the limit is %d", len(data), limit)
	}
	out.event.Data = data[:len(data):len(data)]
	return nil
}

func (in *input) acceptTags(_ *app.App, out *accepted) error {
	if n := len(in.Tags) + len(in.moreTags); n > maxTags {
		return invalid("tags has %d entries, the limit is %d", n, maxTags)
	}
	if len(in.Tags) == 0 {
		return nil
	}
	tags := make(map[string]string, len(in.Tags))
	// Of several that are wrong the first by name is told, so that the answer is always the same.
	for _, k := range slices.Sorted(maps.Keys(in.Tags)) {
		raw := in.Tags[k]
		if raw[0] != '"' {
			return invalid("tags: the value of %.64q is not a string", k)
		}
		v := plainText(raw[1 : len(raw)-1])
		if k == "" || len(k) > maxTagKey || len(v) > maxTagValue {
			return invalid("tags: %.64q: a key has 1 to %d bytes, a value up to %d", k, maxTagKey, maxTagValue)
		}
		tags[k] = v
	}
	out.event.Tags = tags
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
	out.info, err = parseInfo(in.Info, asks{position: true})
	return err
}

// key is the idempotency key: the event's own, else that of the request. limit is in bytes.
func (in *input) key(header string, limit int) (string, error) {
	key := header
	if in.IdempotencyKey != nil {
		key = *in.IdempotencyKey
		if key == "" {
			return "", invalid("idempotency_key is empty")
		}
	}
	if len(key) > limit {
		return "", invalid("idempotency_key has %d bytes, the limit is %d", len(key), limit)
	}
	return key, nil
}
