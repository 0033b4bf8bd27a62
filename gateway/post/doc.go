// Package post serves the requests of which there are the most, those that publish, without
// the HTTP server of the standard library: a POST of HTTP/1.1 whose header is plain and has come
// as a whole, with a body of a length that is known. All else goes to that server, with the
// bytes that were read, as if it had accepted the connection: WebSockets, other methods, bodies
// in chunks, and whatever is wrong, so that nobody but it says what is wrong with a request.
//
// The server of the library reads each request with a goroutine beside the handler, which waits
// for the client to go away, and makes maps, buffers and deadlines that a short answer does not
// need; this was two thirds of the processor time of a publish. A handler gets a request like
// any other and cannot tell, except that its context does not end with the client.
//
// One goroutine per connection reads, calls the handler and answers. It belongs to [Server],
// whose Shutdown waits for all.
package post
