// Package rest is the HTTP API of a gateway: publishing, history, and queries about who is in which channel.
//
// A request is checked completely before any of it is stored. Every refusal names the field and the limit, in
// the one form of error that clients know. 200 for a publish means that it is stored. The package never trusts a
// header about who the client is, never reads a body beyond its limit, and knows the log only by the interfaces
// of package broker.
package rest
