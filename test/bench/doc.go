// Command bench measures fan-out side by side with the limit of the machine.
//
// It is a module of its own, so that the compared products stay out of this product's dependencies. The
// parent process is the server; a child process (`bench reader`) holds the clients, reads with epoll, counts
// bytes and discards them, so that it neither parses nor wakes the server more than necessary.
//
// All variants run interleaved over the same connections, in several rounds, with the order reversed every
// second round. The relevant figure is CPU per delivered message relative to `raw`, which writes one prebuilt
// frame per socket and message and does nothing else: on a shared machine throughput varies by 10 to 15 %
// while CPU does not. After every round the bytes that arrived are compared with the bytes that were sent; a
// difference ends the run.
package main
