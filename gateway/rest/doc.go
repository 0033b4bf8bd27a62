// Package rest is the HTTP API of a gateway: publishing, history, and queries about who
// is in which channel.
//
// It promises that a request is checked completely before anything of it is
// stored, that every refusal names the field and the limit in the one form of
// error that clients know, and that 200 for a publish means stored. It never
// trusts a header about who is asking, never reads a body beyond its limit, and
// knows the log only by the interfaces of package broker.
package rest
