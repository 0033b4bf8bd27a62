// Package turns decides who may do next something that only a bounded number may do at a time, such as
// attaching a channel, and takes clients in fair turns.
//
// A [Gate] promises that a client that asks for much waits behind its own requests, that a newcomer waits for
// a handful of others however many there are, and that nobody waits for ever. The number of waiting requests
// is bounded by the number of connections: each waits for one thing at a time.
//
// A [Door] admits as many newcomers as there is time for beside live events, which it measures by how late
// this process is, and promises a minimum rate however late that is.
package turns
