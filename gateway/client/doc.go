// Package client is a Go client of the gateway: WebSocket connections that
// decode deltas, and signed requests to the HTTP API.
//
// [Dial] opens a connection. It answers pings, notices a dead server, comes back
// as the close codes of protocol section 1.5 ask, and subscribes again. A
// [Decoder] turns frames into events; it is a plain type and can be used without
// a connection. [Signed] publishes and reads history.
//
// Events reach the caller in the order in which they came, one at a time. A
// caller that does not take them makes the connection stop reading, and in the
// end the server closes it: the client holds a bounded number of events and
// drops none.
//
// After a reconnect the client asks for what it missed, in the second dialect, and gets each
// event once and in order, or a [Gap] that says what is missing. The first dialect has no
// word for that: events may be missing after each reconnect, and [Status] says so.
//
// The package never hides a delta that it cannot decode: it asks the server for
// full messages, and reports the failure.
package client
