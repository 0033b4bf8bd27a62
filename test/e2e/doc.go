// Package e2e drives the real binary through its public doors: HTTP, WebSocket,
// NATS, the command line and the console page, with real clients.
package e2e
