// Package gateway is one node: its listeners, its life cycle and its health.
//
// It connects the packages below it: hub (connections and fan-out), rest (the HTTP API), web (the pages) and
// pusher (the protocol, pure). Package main chooses the log and passes it in.
//
// A node that was started either serves or says why it does not. [Node.Run] returns only when everything that
// it started has ended. A stop asks every connection to come back elsewhere before it closes anything.
package gateway
