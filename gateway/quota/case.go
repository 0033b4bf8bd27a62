package quota

import (
	"time"

	"github.com/sluicehq/sluice/gateway/presence"
)

// Verdict is the decision on a connection.
type Verdict uint8

const (
	// Enter admits it.
	Enter Verdict = iota + 1
	// Full says that the app certainly has reached its limit.
	Full
	// Unsure says that the app may have reached its limit, and that the gateways concerned did not confirm it
	// in time. The client should retry after a moment.
	Unsure
	// Wait says that this is not known yet.
	Wait
)

// Case is the case of one connection of an app with a limit.
type Case struct {
	// Limit is the number of connections that the app may have, 0 for any number.
	Limit int
	// Until is when the decision must be made.
	Until time.Time
}

// Judge decides. here is the number of connections of this gateway, and others what is known of other
// gateways by now.
func (c Case) Judge(now time.Time, here int, others presence.Standing) Verdict {
	switch {
	case c.Limit <= 0 || here+others.Others < c.Limit:
		return Enter
	case here+others.Confirmed >= c.Limit:
		return Full
	case !now.Before(c.Until):
		return Unsure
	}
	return Wait
}
