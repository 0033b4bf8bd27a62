// Package natsd runs NATS servers for tests in processes of their own, so that they can be killed, and so
// that they run without the race detector, which would take most of the time that such a server needs.
//
// The program runs the server version that go.mod names. Its parent process sends it commands by its standard
// input, and the program ends when that is closed.
package natsd
