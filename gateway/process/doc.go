// Package process knows what this process may use, file descriptors and memory, and
// says no to strangers before either is used up.
//
// [Descriptors] keeps some descriptors back: the log opens files at any moment, and an
// error there stops it. [Memory] finds the limit of memory (configuration, cgroup,
// GOMEMLIMIT), gives it to the collector, and tells when so much of it is held that
// nobody new should come in.
//
// Nothing here counts what it gave out. Descriptors are judged by their numbers and
// memory by what the collector found alive, so that there is no account that can be
// wrong.
package process
