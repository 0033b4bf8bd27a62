// Package name turns arbitrary text into single tokens of NATS subjects and
// JetStream key-value keys, and back.
//
// Other people choose app ids, channels and conflation values. A token made here is legal where it is used,
// holds no `.`, `*`, `>` or white space (so it can neither become a wildcard nor reach into another app),
// differs for different names, and gives the name back exactly, whatever bytes it holds.
//
// Letters, digits, `_` and `-` stand for themselves. Subjects also keep `: @ , ; #`, so that a publish typed
// by hand to `ticker:AAPL` works as typed; keys may not hold these. Every other byte is `=HH` with upper-case
// hexadecimal digits, and the empty name is a lone `=`. A token is at most three times as long as its name;
// callers limit the length of names.
//
// The package is pure: no state, no I/O, safe for concurrent use.
package name
