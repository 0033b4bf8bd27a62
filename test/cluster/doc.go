// Package cluster runs several gateways on one JetStream log in the test process
// and watches them through real connections: that they send the same publications
// in full, that their deltas are the same bytes, and that every client gets what
// the log has, or is told.
package cluster
