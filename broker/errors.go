package broker

import (
	"errors"
	"fmt"
)

// Errors that callers test for with [errors.Is]. Backends wrap them with details.
var (
	// ErrUnknownApp: the log does not know the app.
	ErrUnknownApp = errors.New("unknown app")
	// ErrUnavailable: the backend cannot be reached or has no quorum. The
	// caller may try again later.
	ErrUnavailable = errors.New("log unavailable")
	// ErrOverloaded: too much is being published at the moment. It wraps
	// ErrUnavailable; the caller may try again later.
	ErrOverloaded = fmt.Errorf("%w: too much is being published at the moment", ErrUnavailable)
	// ErrQueueFull: a work queue has reached its limit of tasks or bytes. It wraps ErrUnavailable.
	ErrQueueFull = fmt.Errorf("%w: the queue is full", ErrUnavailable)
	// ErrTooLarge: the event exceeds what the log stores.
	ErrTooLarge = errors.New("event too large for the log")
	// ErrInvalidQuery: the bounds or the limit of a query are invalid.
	ErrInvalidQuery = errors.New("invalid history query")
	// ErrEpochChanged: the position belongs to another epoch of the log.
	ErrEpochChanged = errors.New("position is of another epoch")
	// ErrPositionExpired: publications after the position are gone.
	ErrPositionExpired = errors.New("position expired")
	// ErrPositionUnknown: the position is above the newest publication.
	ErrPositionUnknown = errors.New("position is ahead of the log")
	// ErrClosed: the backend was closed.
	ErrClosed = errors.New("log closed")
)

// Refused is an [ErrUnavailable] that lasts until an operator fixes its cause. The caller may be told its
// reason.
type Refused struct {
	// Reason is a sentence without secrets and internal names.
	Reason string
	Cause  error
}

// Error implements error.
func (r *Refused) Error() string { return fmt.Sprintf("%v: %s: %v", ErrUnavailable, r.Reason, r.Cause) }

// Unwrap lets [errors.Is] find ErrUnavailable and the cause.
func (r *Refused) Unwrap() []error { return []error{ErrUnavailable, r.Cause} }
