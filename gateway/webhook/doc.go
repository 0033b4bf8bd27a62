// Package webhook tells applications what happened in their channels.
//
// Events are put into a queue of work for each address and delivered by one gateway of
// the cluster at a time, so that each is sent by exactly one, in order per channel,
// and is not lost when a gateway dies. A channel that was vacated and a member that
// left are told after a grace of three seconds, and not at all if they came back; so
// both events of such a pair go through the queue if an address wants one of them. A
// request is signed, and repeated with growing pauses for five minutes until it is
// answered with success; then it is given up and counted. A gateway that dies, or is
// cut off, may have sent what the next one sends again. What waits longer than the
// queue keeps it is lost.
//
// What it never does: make a publisher or a socket wait ([Hooks.Emit] does not block),
// follow redirects, or let one address hold up another. See protocol section 2.6.
package webhook
