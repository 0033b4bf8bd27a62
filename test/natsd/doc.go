// Package natsd runs NATS servers for tests in processes of their own, so that they can be killed, and so
// that they run without the race detector: it is for our code, and takes most of the time that such a
// server needs.
//
// The program has the very server that go.mod names. Who starts it holds its standard input, by which it
// is told what to do, and with whose end it ends.
package natsd
