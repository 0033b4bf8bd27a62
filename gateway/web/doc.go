// Package web is the pages of a gateway: one to try it out, which shows in a browser what the gateway sends, and
// the console for operators.
//
// The first page connects like any client, requests delta compression, decodes deltas with its own decoder,
// publishes over the HTTP API and reads history. The console uses the API of package console. Both are plain ES
// modules and CSS, embedded in the binary. They load nothing from other servers, and the content security policy
// enforces that.
//
// The package serves files. It knows neither connections nor the log, never sends a secret, and does not decide
// who may see the pages: the code that mounts the [Handler] does.
package web
