// Package pusher is the protocol as pure functions: frames and their texts, codes,
// names, signatures, and what clients send.
//
// It never does I/O, never reads a clock, and keeps no state. What it parses came
// from outside and may be anything; it answers with errors that name the field and
// the limit, and never panics.
package pusher
