// Package brokertest is the conformance suite of the log: what every backend
// must do, as tests that run against a [broker.Log] and know nothing else of
// it.
//
// A backend is done when [Run] passes. The suite presumes no synchronous
// delivery and no timing: it waits for conditions with a generous deadline, and
// shows that something does not happen by waiting for something that is
// ordered after it. It never injects faults; how a backend survives those is
// tested where its servers can be reached.
package brokertest
