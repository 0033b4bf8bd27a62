// Package webhook tells applications what happened in their channels.
//
// Events are put into a queue of work for each address and delivered by one gateway of
// the cluster at a time, so that each is sent by exactly one, in order per channel,
// and is not lost when a gateway dies. A channel that was vacated and a member that
// left are told after a grace of three seconds, and not at all if they came back. A
// request is signed, and repeated with growing pauses for five minutes until it is
// answered with success; then it is given up and counted.
//
// What it never does: make a publisher or a socket wait ([Hooks.Emit] does not block),
// follow redirects, or let one address hold up another. See protocol section 2.6.
package webhook
