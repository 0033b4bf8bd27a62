// Package kv is a small key-value store with revisions and expiry.
//
// [Store] promises compare-and-set: a write names the revision it replaces, and
// of several writers that name the same one exactly one succeeds. A value
// disappears when the time to live of its bucket has passed since it was
// written, so a lease is a value that is written again in time. Reading may lag
// behind: a Get may return an older revision than the newest, or none, for a
// moment after a write. Only a write that succeeds proves what was there.
//
// [Bucket] is the store on JetStream KV. It has no watch, on purpose: each
// would cost the server a consumer. Who needs to follow keys has the bucket
// republish its writes to a core subject and subscribes to that, as [Bucket.Follow]
// does.
//
// The package never retries a write by itself, since it cannot know whether the
// first one was stored, and it never encodes keys: callers do, with
// [github.com/sluicehq/sluice/broker/name.Key].
package kv
