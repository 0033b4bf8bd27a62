// Package console is what people who run a gateway see of it: a small JSON API and one event
// stream, for the page of package web.
//
// It asks the gateway through [Gateway] and the log through [broker.History], and keeps nothing
// of its own but who is logged in and what it looked at a second ago. Nobody collects anything
// for it: rows are made when they are asked for, and publications of a channel are shown to it
// only while somebody looks at that channel. When nobody looks, nothing runs.
//
// Whoever has the token may see everything, private channels as well, and may close connections.
// So every route wants the token, or on a development server a request of this machine; requests
// of pages of other sites, and those whose Host is not known, are refused. What it says of
// channels, events and members was written by strangers: it is data, and the page shows it as
// text.
//
// It never publishes, never changes a channel, and knows neither sockets nor frames.
package console
