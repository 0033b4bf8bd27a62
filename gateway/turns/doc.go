// Package turns says who may attach a channel when: fair turns at something of which only so
// much may be done at a time.
//
// A [Gate] promises that who asks for much waits for himself, that a newcomer waits for a
// handful of others however many there are, and that nobody waits for ever. What waits is
// bounded by those who ask: each waits for one thing at a time.
//
// A [Door] lets through as many as there is time for beside what is live, which it measures by how late
// this process is, and promises a least rate however late that is.
package turns
