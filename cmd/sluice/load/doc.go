// Package load puts load on a server of the Pusher protocol and measures it. It implements "sluice bench". It
// knows nothing of the server's internals and works with any server.
//
// The load is open: when a message is due does not depend on how fast the server is, and every latency is
// measured from the time at which it was due. So a stalled server is charged for all messages that were due
// meanwhile. A loop that waits for answers would have sent, and counted, only one.
//
// [New] creates a [Run], and [Run.Do] runs it once and waits for every goroutine that it has started. A context
// that ends is an orderly end: the [Result] then has what was measured so far and says so.
package load
