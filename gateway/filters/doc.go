// Package filters keeps the filters of subscriptions (package pusher says what they are).
//
// A [Pool] has each filter of a gateway once, however many subscriptions have it, for as long
// as one has it: what thousands ask for in the same words takes the memory of one. [Own] is
// what one connection has of them, and bounds it.
package filters
