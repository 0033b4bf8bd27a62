package webhook

import (
	"strconv"

	"github.com/sluicehq/sluice/gateway/pusher"
)

// Names of webhook events (protocol section 2.6).
const (
	ChannelOccupied   = "channel_occupied"
	ChannelVacated    = "channel_vacated"
	MemberAdded       = "member_added"
	MemberRemoved     = "member_removed"
	ClientEvent       = "client_event"
	CacheMiss         = "cache_miss"
	SubscriptionCount = "subscription_count"
)

// Names lists all of them.
var Names = []string{ChannelOccupied, ChannelVacated, MemberAdded, MemberRemoved, ClientEvent, CacheMiss, SubscriptionCount}

// Event is a webhook event. Its name decides which fields are used.
type Event struct {
	// ID is equal for all gateways that report the same event. It is not sent.
	ID            string
	Name, Channel string
	UserID        string
	// Event, Data and SocketID are those of a client event.
	Event, Data, SocketID string
	Count                 int
	// Version orders the counts of a channel; 0 means no order. It is not sent.
	Version uint64
	// Trace is the trace context of the cause, empty if it is not traced. It is not sent.
	Trace string
}

// Append appends the JSON text of the event.
func (e *Event) Append(dst []byte) []byte {
	dst = append(dst, `{"name":`...)
	dst = pusher.AppendString(dst, e.Name)
	dst = append(dst, `,"channel":`...)
	dst = pusher.AppendString(dst, e.Channel)
	text := func(member, value string) {
		dst = append(append(append(dst, `,"`...), member...), `":`...)
		dst = pusher.AppendString(dst, value)
	}
	switch e.Name {
	case MemberAdded, MemberRemoved:
		text("user_id", e.UserID)
	case ClientEvent:
		text("event", e.Event)
		text("data", e.Data)
		text("socket_id", e.SocketID)
		if e.UserID != "" {
			text("user_id", e.UserID)
		}
	case SubscriptionCount:
		dst = strconv.AppendInt(append(dst, `,"subscription_count":`...), int64(e.Count), 10)
	}
	return append(dst, '}')
}
