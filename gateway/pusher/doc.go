// Package pusher is the protocol as pure functions: frames and their texts, codes,
// names, signatures, and what clients send.
//
// It never does I/O, never reads a clock, and keeps no state. What it parses came
// from outside and may be anything; it answers with errors that name the field and
// the limit, and never panics. The size of what it parses is bounded by whoever
// read it; the depth is bounded here, by [MaxDepth].
//
// Of members that a client repeats in one JSON object the first counts. An escaped
// half of a surrogate pair in a member that is read as text becomes U+FFFD; values
// that are only passed on, such as [ClientFrame.Data], keep their text.
package pusher
