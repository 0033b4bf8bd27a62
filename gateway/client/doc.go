// Package client is a Go client of the gateway: WebSocket connections that decode deltas, and signed requests to
// the HTTP API.
//
// [Dial] opens a connection. It answers pings, detects a dead server, reconnects as the close codes of protocol
// section 1.5 demand, and subscribes again. A [Decoder] turns frames into events; it can be used without a
// connection. [Signed] publishes and reads history.
//
// Events reach the caller in the order of arrival, one at a time. The client buffers a bounded number of events
// and drops none: if the caller does not take them, it stops reading, and in the end the server closes the
// connection.
//
// After a reconnect in the second dialect, the client resumes: it gets each missed event once and in order, or a
// [Gap] that says what is missing. The first dialect cannot resume: events may be missing after each reconnect,
// and [Status] says so.
//
// A delta that cannot be decoded is never hidden: the client requests full messages from the server, and reports
// the failure.
package client
