package broker

import (
	"fmt"
	"time"
)

// Query selects publications of one channel. The zero value of a bound means no bound.
type Query struct {
	// NewestFirst reads backwards from the upper bound; otherwise the query reads forwards from the lower
	// bound.
	NewestFirst bool
	// From and To are inclusive offsets.
	From, To uint64
	// Since and Until are inclusive storage times.
	Since, Until time.Time
	// Limit is the largest number of publications returned, 1 to [MaxLimit]. Fewer are returned if they reach
	// [PageBytes].
	Limit int
	// Bare means that the caller needs neither Retained nor More, and that To, if set, was in the log a
	// moment ago. The page may lack them.
	Bare bool
}

// MaxLimit is the largest number of publications that may be asked for at once.
const MaxLimit = 1000

// Check validates the query. Its errors wrap [ErrInvalidQuery].
func (q *Query) Check() error {
	switch {
	case q.To != 0 && q.From > q.To:
		return fmt.Errorf("%w: from %d is above to %d", ErrInvalidQuery, q.From, q.To)
	case !q.Until.IsZero() && !q.Since.IsZero() && q.Since.After(q.Until):
		return fmt.Errorf("%w: since is later than until", ErrInvalidQuery)
	}
	return CheckLimit(q.Limit)
}

// CheckLimit returns an error that wraps [ErrInvalidQuery] unless limit is 1 to [MaxLimit].
func CheckLimit(limit int) error {
	if limit < 1 || limit > MaxLimit {
		return fmt.Errorf("%w: limit is %d, must be 1 to %d", ErrInvalidQuery, limit, MaxLimit)
	}
	return nil
}
