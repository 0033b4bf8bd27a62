// Package trace is what a gateway asks of whoever records traces. A gateway without one has a
// nil [Tracer] and does nothing for it.
package trace

import "net/http"

// Tracer records what takes time. It is safe for use by several goroutines, and never waits.
type Tracer interface {
	// Request begins the span of a request that is answered here, which goes on with the
	// trace that its headers name. Ask only for requests that are known to be allowed: a
	// stranger must not decide what is recorded. attributes are names and values in turn.
	Request(r *http.Request, operation string, attributes ...string) Span
	// Call begins a span of its own for a request to somebody else, and puts into its headers
	// what lets the receiver go on with the trace.
	Call(r *http.Request, operation string, attributes ...string) Span
}

// Span is one thing that takes time, until it is ended, once.
type Span interface {
	// Step begins a part of it.
	Step(operation string) Span
	// End says how it went: the status of an answer, 0 for none, how many events it was
	// about, and what went wrong here, nil for nothing.
	End(status, events int, err error)
}
