package broker

import (
	"fmt"
	"time"
)

// Query selects publications of one channel. The zero value of a bound means
// that there is none.
type Query struct {
	// NewestFirst reads backwards from the upper bound; otherwise forwards
	// from the lower one.
	NewestFirst bool
	// From and To are inclusive offsets.
	From, To uint64
	// Since and Until are inclusive times of storing.
	Since, Until time.Time
	// Limit is the largest number of publications returned, 1 to [MaxLimit]. They are fewer
	// where they have [PageBytes] together.
	Limit int
	// Bare says that nobody asks what the log retains, nor whether there is more, and that To, if it
	// is given, was in the log a moment ago. What is not asked for may be missing in the page.
	Bare bool
}

// MaxLimit is the largest number of publications that may be asked for at once.
const MaxLimit = 1000

// Check says what makes no sense of a query. Its errors wrap [ErrInvalidQuery].
func (q *Query) Check() error {
	switch {
	case q.To != 0 && q.From > q.To:
		return fmt.Errorf("%w: from %d is above to %d", ErrInvalidQuery, q.From, q.To)
	case !q.Until.IsZero() && !q.Since.IsZero() && q.Since.After(q.Until):
		return fmt.Errorf("%w: since is later than until", ErrInvalidQuery)
	}
	return CheckLimit(q.Limit)
}

// CheckLimit says whether so many publications may be asked for. Its errors wrap
// [ErrInvalidQuery].
func CheckLimit(limit int) error {
	if limit < 1 || limit > MaxLimit {
		return fmt.Errorf("%w: limit is %d, must be 1 to %d", ErrInvalidQuery, limit, MaxLimit)
	}
	return nil
}
