// Package count decides which publications of a channel go out in full, together with
// the other gateways of a cluster.
//
// [Interval] turns the ordered log of a channel into that decision: whoever feeds it the
// same log from the same state on gets the same decisions. [Machine] keeps one in step with
// the cluster: it says when the count must be looked up and when a checkpoint of it must be
// written for those who come later, and its decisions wait for neither. Both are pure: no
// I/O, no clock, no goroutine.
//
// A [Counter] is the machine of one channel with what it asks for: looking up reads the
// bucket of checkpoints and the log after the checkpoint, and saving writes to the bucket.
// A [Cluster] bounds what the counters of a gateway do at a time. Where the log itself
// counts, [InLog] tells it what, and a counter only passes its verdicts on.
package count
