// Package web is the pages of a gateway: one to try it out, which shows in a browser what a
// gateway sends, and the console for operators.
//
// The first connects like any client, asks for delta compression, rebuilds
// deltas with a decoder of its own, publishes over the HTTP API and reads
// history. The console asks package console. Both are plain ES modules and CSS,
// embedded in the binary; they load nothing from anywhere else, and the content security policy
// says so.
//
// The package serves files. It knows neither connections nor the log, never
// sends a secret, and does not decide who may see the page: whoever mounts the
// [Handler] does.
package web
