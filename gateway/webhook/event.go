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

// Names lists them all.
var Names = []string{ChannelOccupied, ChannelVacated, MemberAdded, MemberRemoved, ClientEvent, CacheMiss, SubscriptionCount}

// Event is something that an application wants to know. Which fields count depends on
// the name.
type Event struct {
	// ID is the same for all who tell of the same event. It does not travel.
	ID            string
	Name, Channel string
	UserID        string
	// Event, Data and SocketID are those of a client event.
	Event, Data, SocketID string
	Count                 int
	// Version orders the numbers of a channel, 0 for one that has no order. It does
	// not travel.
	Version uint64
	// Trace is the place in a trace of what it tells of, empty if that is not recorded. It does
	// not travel.
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
