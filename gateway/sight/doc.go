// Package sight decides what a reader of a channel may see of its past.
//
// The log keeps what its retention says, and an app may let less of it be read
// (channel_history). Whoever gives the past to anybody (pages of history, resumed and
// rewound subscriptions, snapshots, streams of events) looks at a channel with
// [Log.Look] and reads through the [View] that he gets, and not from the log itself.
// So all of them show the same, and say alike what cut it.
//
// The package never delivers anything and keeps nothing: a view holds for the moment at
// which it was made, and what it shows may be gone from the log when it is read.
package sight
