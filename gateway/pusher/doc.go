// Package pusher is the protocol as pure functions: frames and their texts, codes, names, signatures, and the
// messages of clients.
//
// It does no I/O, reads no clock, and keeps no state. Its input comes from outside and may be anything; it
// returns errors that name the field and the limit, and never panics. The caller bounds the size of the input;
// [MaxDepth] bounds its depth.
//
// If a member is repeated in one JSON object, the first counts. An unpaired surrogate escape in a member that is
// read as text becomes U+FFFD; values that are only passed on, such as [ClientFrame.Data], keep their text.
package pusher
