// Package gateway is one node: its listeners, its life cycle and its health.
//
// It puts the parts below it together: hub (connections and fan-out), rest (the
// HTTP API), web (the console page) and pusher (the protocol, pure). It is given
// a log and never asks which one; package main chooses.
//
// It promises that a node which was started is either serving or says why not,
// that [Node.Run] returns only when everything it started has ended, and that a
// stop asks every connection to come back elsewhere before it closes anything.
package gateway
