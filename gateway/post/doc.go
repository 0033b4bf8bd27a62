// Package post serves the most frequent requests, publishes, without the HTTP server of the standard library:
// POST requests of HTTP/1.1 with a plain and complete header and a body of known length. All other requests go
// to net/http, with the bytes that were read, as if it had accepted the connection: WebSockets, other methods,
// chunked bodies, and everything invalid, so that only net/http answers invalid requests.
//
// For each request, net/http runs a goroutine beside the handler that waits for the client to disconnect, and
// makes maps, buffers and deadlines that a short answer does not need; this was two thirds of the processor time
// of a publish. A handler gets the same kind of request from both, except that here its context does not end
// with the client.
//
// One goroutine per connection reads, calls the handler and answers. It belongs to [Server], whose Shutdown
// waits for all of them.
package post
