package client

import (
	"fmt"

	"github.com/tidwall/gjson"
)

// NotRecoverable is the code of a [Gap] that the client found by itself: it came back, and
// what was published meanwhile cannot be asked for. Other codes are the server's (protocol
// section 5.3): position_expired, stream_reset, continuity_unverifiable,
// persistence_unavailable.
const NotRecoverable = "not_recoverable"

// Gap says that events of a channel were missed, or may have been. The channel goes on with
// what is live.
type Gap struct {
	Channel string
	// Code is the machine-readable reason, Reason the sentence.
	Code, Reason string
	// After is the serial of the last event that was seen, in the stream Expected; Current is
	// the stream that the server has now. The streams are empty and After is 0 if unknown.
	After             uint64
	Expected, Current string
	// Live is the serial above which events come again, 0 if unknown. Oldest and Newest are
	// the serials that the log still has, 0 if the server does not say; [Signed.History] reads
	// these.
	Live, Oldest, Newest uint64
}

func (g *Gap) Error() string {
	return fmt.Sprintf("events of %s were missed or may have been: %s (%s)", g.Channel, g.Reason, g.Code)
}

// Most is how many events were missed at most, 0 if that is unknown: serials have gaps.
func (g *Gap) Most() uint64 {
	if g.Expected == "" || g.Expected != g.Current || g.Live <= g.After {
		return 0
	}
	return g.Live - g.After
}

// Recovery sums up what a client got that came back.
type Recovery struct {
	// Channels is how many subscriptions were resumed, and Events how many events they had
	// missed and got.
	Channels, Events int
	// Gaps are those of subscriptions that could not be resumed. Without one nothing was
	// missed.
	Gaps []Gap
}

// gapOf reads what the server says about a position that it cannot resume.
func gapOf(v gjson.Result) Gap {
	return Gap{
		Channel: v.Get("channel").String(), Code: v.Get("code").String(), Reason: v.Get("reason").String(),
		Expected: v.Get("expected_stream_id").String(), Current: v.Get("current_stream_id").String(),
		Oldest: v.Get("oldest_available_serial").Uint(), Newest: v.Get("newest_available_serial").Uint(),
	}
}
