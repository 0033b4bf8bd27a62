// Package embedded runs nats-server with JetStream inside the process.
//
// It promises that at most one process uses a store directory, that every reason
// for which the server cannot start is an error with that reason in it, that the
// `nats` command-line tool reaches the server without credentials but cannot write
// what only the server may write, that nothing a client sends to the port ends the
// process, and that a stop leaves the store in order.
// It never installs signal handlers, never exits the process, and never takes
// memory that was not given to it.
package embedded
