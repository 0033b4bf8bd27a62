// Package broker is the vocabulary of the log and the contracts of its
// backends.
//
// It promises words, not behaviour: [Event] is what a publisher hands over,
// [Publication] is an event with its place in the log, [Position] is that
// place, [Gap] is what a reader is told when a part of the log can no longer be
// had. The interfaces [Publisher], [Feed] and [History] say what a backend
// must do with them; the suite in broker/brokertest checks it, and
// broker/memory is the reference that the suite was written against.
//
// Offsets rise strictly within one channel and one epoch, and have gaps: a
// backend may number a whole app with one counter. Nothing in this package does
// I/O, keeps state, or knows of sockets. It imports the standard library only.
package broker
