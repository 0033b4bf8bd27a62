// Package brokertest is the conformance suite of the log. Its tests run against any [broker.Log] and use
// nothing but that interface and what [Backend] provides.
//
// A backend is done when [Run] passes. The suite assumes neither synchronous delivery nor timing: it waits
// for conditions with a generous deadline, and shows that something does not happen by waiting for something
// that is ordered after it. It injects no faults; how a backend survives those is tested where its servers
// can be controlled.
package brokertest
