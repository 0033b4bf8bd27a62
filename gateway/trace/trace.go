// Package trace is the interface between a gateway and a recorder of traces. Without one, a gateway has a nil
// [Tracer] and does nothing for traces.
package trace

import "net/http"

// Tracer records spans. It is safe for concurrent use, and never waits.
type Tracer interface {
	// Request begins the span of a request that is served here, in the trace of its headers. It must be called
	// only for authorized requests, so that strangers do not decide what is recorded. attributes are alternating
	// names and values.
	Request(r *http.Request, operation string, attributes ...string) Span
	// Call begins a new span for an outgoing request, and adds the trace context to its headers. causes are the
	// contexts of spans that led to it, as [Span.Place] returns them; the span has links to them.
	Call(r *http.Request, operation string, causes []string, attributes ...string) Span
	// Begin begins a new span for something that a client of an app has caused. Only some per second are
	// recorded, so that clients cannot crowd out other spans.
	Begin(operation string, attributes ...string) Span
}

// Span is one operation. It must be ended exactly once.
type Span interface {
	// Step begins a child span.
	Step(operation string) Span
	// Place returns the trace context of the span (traceparent), empty if it is not recorded.
	Place() string
	// End ends the span: with the status of an answer, 0 for none, the number of events, and the error, nil for
	// none.
	End(status, events int, err error)
}
