// Package console is the operators' view of a gateway: a small JSON API and one event stream, for the page of
// package web.
//
// It queries the gateway through [Gateway] and the log through [broker.History], and keeps only its sessions and
// the last lists of channels and connections. Nothing is collected for it: lists are made on request, and
// publications of a channel are shown to it only while a page watches that channel. Without pages, nothing runs.
//
// Clients with the token may see everything, including private channels, and may close connections. So every
// route needs the token, or on a development server a request from this machine. Requests of pages of other
// sites, and those with an unknown Host, are refused. Names of channels, events and data come from outside: the
// page shows them as text.
//
// The package never publishes, never changes a channel, and knows neither sockets nor frames.
package console
