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
	// what lets the receiver go on with the trace. causes are the places of spans that it comes
	// from, as [Span.Place] gives them; it has links to them.
	Call(r *http.Request, operation string, causes []string, attributes ...string) Span
	// Begin begins a span of its own for something that a client of an app has caused. So that
	// nobody pushes out what others do, only some in a second are recorded.
	Begin(operation string, attributes ...string) Span
}

// Span is one thing that takes time, until it is ended, once.
type Span interface {
	// Step begins a part of it.
	Step(operation string) Span
	// Place is where it is in its trace, for others to refer to it: a traceparent, empty if it
	// is not recorded.
	Place() string
	// End says how it went: the status of an answer, 0 for none, how many events it was
	// about, and what went wrong here, nil for nothing.
	End(status, events int, err error)
}
