// Package process knows the limits of this process for file descriptors and memory, and refuses clients before
// either is used up.
//
// [Descriptors] reserves some descriptors: the log opens files at any moment, and an error there stops it.
// [Memory] finds the memory limit (configuration, cgroup, GOMEMLIMIT), sets it for the collector, and reports
// when so much is in use that new clients should be refused.
//
// Nothing here is counted. Descriptors are judged by their numbers, and memory by what the collector found live,
// so no count can be wrong.
package process
