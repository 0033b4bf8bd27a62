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

// accepted is an event that has passed all checks.
type accepted struct {
	event    *broker.Event
	channels []string
	// own is the memory of event, and single that of channels if there is only one.
	own    broker.Event
	single [1]string
	info   attributes
	// ephemeral events are delivered to present subscribers and not stored.
	ephemeral bool
	// receipts are the receipts by channel, once the event is stored.
	receipts []broker.Receipt
}

// acceptName checks the name, before anything else, and begins the event.
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

// accept checks an event and fills in out, which must be empty. node is the accepting gateway. header is the
// idempotency key of the whole request, empty if there is none.
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

// CheckEvent returns why every app would refuse an event, however high its limits are; nil if that depends on
// the app. body is the body of a request that publishes it, and is overwritten. The errors are those of the
// request.
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

// acceptData takes the data: the content of a string, or the text of any other JSON value. Escapes are decoded
// in place, because the body belongs to the request, so nothing is copied.
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
	// Names are checked in order, so that several errors always give the same answer.
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

// key returns the idempotency key: that of the event, else that of the request. limit is in bytes.
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
