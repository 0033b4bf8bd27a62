// Package load puts load on a server of the Pusher protocol and measures it: what "sluice
// bench" runs. It knows nothing of this server's inside and works against any other.
//
// The load is open: when a message is due does not depend on how fast the server is, and
// every latency counts from the moment at which it was due. So a server that stalls pays
// for all messages that were due meanwhile, where a loop that waits for answers would have
// sent, and counted, only one.
//
// A [Run] is made with [New] and run once with [Run.Do], which waits for every goroutine
// that it began. A context that ends is an orderly end: the [Result] has what was measured
// so far and says so.
package load
