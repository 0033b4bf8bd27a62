// Package sight decides which part of a channel's past a reader may see.
//
// The log keeps what its retention says, and an app may allow less of it to be read (channel_history). All code
// that gives the past to a reader (pages of history, resumed and rewound subscriptions, snapshots, event
// streams) calls [Log.Look] for a channel and reads through the returned [View], not from the log itself. So all
// of it shows the same, and gives the same reason for what is cut off.
//
// The package delivers nothing and keeps nothing: a view is valid for the moment at which it was made, and what
// it shows may be gone from the log when it is read.
package sight
