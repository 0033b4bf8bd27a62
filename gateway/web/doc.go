// Package web is the console page: a static page that shows, in a browser, what
// a gateway sends.
//
// The page connects like any client, asks for delta compression, rebuilds
// deltas with a decoder of its own, publishes over the HTTP API and reads
// history. It is plain ES modules and CSS, embedded in the binary; it loads
// nothing from anywhere else, and the content security policy says so.
//
// The package serves files. It knows neither connections nor the log, never
// sends a secret, and does not decide who may see the page: whoever mounts the
// [Handler] does.
package web
