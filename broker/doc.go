// Package broker defines the data types of the log and the interfaces of its backends.
//
// [Event] is what a publisher hands over, [Publication] is an event with its place in the log, [Position] is
// that place, and [Gap] tells a reader that a part of the log is no longer available. The interfaces
// [Publisher], [Feed] and [History] specify a backend. The suite in broker/brokertest checks implementations;
// broker/memory is the reference implementation.
//
// Offsets rise strictly within one channel and one epoch, and have gaps: a backend may number a whole app
// with one counter. The package does no I/O and knows nothing of sockets. It imports only the standard
// library and broker/rank.
package broker
