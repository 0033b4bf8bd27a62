// Package webhook delivers webhooks: it tells applications what happened in their channels.
//
// Events are put into a work queue for each address. One gateway of the cluster at a time delivers from a queue,
// so that each event is sent by exactly one gateway, in order per channel, and survives the death of a gateway.
// A vacated channel and a removed member are reported after a grace of three seconds, and not at all if they
// come back meanwhile; so both events of such a pair go through the queue if an address wants either. A request
// is signed, and repeated with growing pauses for five minutes until it succeeds; then its events are dropped
// and counted. A gateway that dies or is cut off may have sent what the next one sends again. Events that stay
// in the queue longer than it keeps them are lost.
//
// The package never makes a publisher or a socket wait ([Hooks.Emit] does not block), never follows redirects,
// and never lets one address delay another. See protocol section 2.6.
package webhook
