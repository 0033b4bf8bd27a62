package quota

import (
	"time"

	"github.com/sluicehq/sluice/gateway/presence"
)

// Verdict is what becomes of a connection.
type Verdict uint8

const (
	// Enter lets it in.
	Enter Verdict = iota + 1
	// Full says for certain that the app has as many as it may have.
	Full
	// Unsure says that it may have as many, and that the gateways concerned did not confirm it in time: the
	// client should come again after a moment.
	Unsure
	// Wait says that it is not known yet.
	Wait
)

// Case is that of one connection of an app with a limit.
type Case struct {
	// Limit is how many the app may have, 0 for any number.
	Limit int
	// Until is when the time for finding out is over.
	Until time.Time
}

// Judge decides, given how many connections this gateway has and what is known of the others by now.
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
