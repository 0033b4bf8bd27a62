package client

import (
	"fmt"

	"github.com/tidwall/gjson"
)

// NotRecoverable is the code of a [Gap] that the client itself has found: it has reconnected, and cannot request
// what was published meanwhile. Other codes come from the server (protocol section 5.3): position_expired,
// stream_reset, continuity_unverifiable, persistence_unavailable.
const NotRecoverable = "not_recoverable"

// Gap says that events of a channel were missed, or may have been. The channel continues with live events.
type Gap struct {
	Channel string
	// Code is the machine-readable reason, and Reason a sentence.
	Code, Reason string
	// After is the serial of the last received event, in the stream Expected. Current is the present stream of
	// the channel. Unknown streams are empty, and an unknown After is 0.
	After             uint64
	Expected, Current string
	// Live is the serial after which events arrive again, 0 if unknown. Oldest and Newest are the serials that
	// the log still has, 0 if the server does not say; [Signed.History] can read them.
	Live, Oldest, Newest uint64
}

func (g *Gap) Error() string {
	return fmt.Sprintf("events of %s were missed or may have been: %s (%s)", g.Channel, g.Reason, g.Code)
}

// Most returns an upper bound of the number of missed events, 0 if it is unknown. Serials have gaps, so fewer
// may be missing.
func (g *Gap) Most() uint64 {
	if g.Expected == "" || g.Expected != g.Current || g.Live <= g.After {
		return 0
	}
	return g.Live - g.After
}

// Recovery sums up the result of a reconnect.
type Recovery struct {
	// Channels is the number of resumed subscriptions, and Events the number of missed events that they
	// received.
	Channels, Events int
	// Gaps are those of subscriptions that could not be resumed. Without gaps, nothing was missed.
	Gaps []Gap
}

// gapOf parses the server's description of a position that it cannot resume.
func gapOf(v gjson.Result) Gap {
	return Gap{
		Channel: v.Get("channel").String(), Code: v.Get("code").String(), Reason: v.Get("reason").String(),
		Expected: v.Get("expected_stream_id").String(), Current: v.Get("current_stream_id").String(),
		Oldest: v.Get("oldest_available_serial").Uint(), Newest: v.Get("newest_available_serial").Uint(),
	}
}
