package client

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/lxzan/gws"
)

// ErrClosed is returned by calls after [Client.Close].
var ErrClosed = errors.New("client closed")

// lost is the code for a connection that ended without a close frame (RFC 6455, section 7.1.5).
const lost = 1006

// CloseError describes how a connection ended.
type CloseError struct {
	// Code is the close code, 1006 if the connection ended without one.
	Code int
	// Reason is the server's reason, or a description of the failure.
	Reason string
	Err    error
}

func (e *CloseError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("connection closed with %d", e.Code)
	}
	return fmt.Sprintf("connection closed with %d: %s", e.Code, e.Reason)
}

func (e *CloseError) Unwrap() error { return e.Err }

// Final reports whether reconnecting is useless because the server refuses this client (protocol section 1.5).
func (e *CloseError) Final() bool {
	return e.Code >= 4000 && e.Code < 4100 || e.Code >= 4300
}

// AtOnce reports whether the server asks the client to reconnect without a pause.
func (e *CloseError) AtOnce() bool { return e.Code >= 4200 && e.Code < 4300 }

// closeError converts an error of gws. said is the message of the last protocol error, which replaces an empty
// reason.
func closeError(err error, said string) *CloseError {
	var c *gws.CloseError
	if !errors.As(err, &c) {
		return &CloseError{Code: lost, Reason: err.Error(), Err: err}
	}
	out := &CloseError{Code: int(c.Code), Reason: string(c.Reason)}
	if out.Code == 0 {
		out.Code = 1005 // a close frame without a code
	}
	if out.Reason == "" {
		out.Reason = said
	}
	return out
}

// backoff computes the pauses between attempts. The zero value is not usable.
type backoff struct {
	least, most time.Duration
	tries       int
}

// next returns the pause before the next attempt. It doubles with each failed attempt. A fifth of it is random,
// so that clients of the same server do not reconnect at the same time.
func (b *backoff) next(atOnce bool) time.Duration {
	d := b.most
	if b.tries < 63 && b.least <= b.most>>b.tries {
		d = b.least << b.tries
	}
	b.tries++
	if atOnce && b.tries == 1 {
		return 0
	}
	return d - d/5 + time.Duration(rand.Int64N(int64(d/5)+1))
}

func (b *backoff) reset() { b.tries = 0 }
