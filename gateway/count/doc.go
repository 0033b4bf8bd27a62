// Package count decides which publications of a channel are sent in full, together with the other gateways of
// a cluster.
//
// [Interval] derives that decision from the ordered log of a channel: the same log and the same initial state
// give the same decisions. [Machine] keeps an Interval in step with the cluster. It says when the count must
// be looked up, and when a checkpoint must be written for gateways that join later. Its decisions wait for
// neither. Both are pure: no I/O, no clock, no goroutine.
//
// A [Counter] is the machine of one channel with its I/O: to look up, it reads the bucket of checkpoints and
// the log after the checkpoint; to save, it writes to the bucket. A [Cluster] bounds what the counters of a
// gateway do at a time. If the log itself counts, [InLog] tells it how, and a counter only passes on the
// verdicts of the log.
package count
