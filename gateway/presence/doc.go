// Package presence will fold who is in a channel. It is not part of this
// release: nothing here is implemented, and gateways refuse subscriptions to
// presence channels.
//
// What it will promise: each gateway writes its own joins and leaves under its
// own lease; gateways that serve a channel follow them and fold the same members
// from them. A user is in from the first connection that joins, on any gateway,
// until the last one leaves, and hears of others in the order in which membership
// changed. The members of a gateway that died are removed once, when its lease
// ends. Subscription counts fold the same way, and the HTTP API answers from the
// fold. What it will never do: ask other gateways, or keep a consumer or a watch
// per channel. See protocol sections 1.9, 1.11 and 2.5.
package presence
