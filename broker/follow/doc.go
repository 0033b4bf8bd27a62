// Package follow delivers the publications of channels from a log to sinks, for any kind of log. It keeps one
// follower per channel, delivers messages in order, holds messages while something is missing, and reads
// missing publications from the log.
//
//	live message ─► Queue ─► Follower ─► sinks
//	                            │  ▲
//	                     Repair ▼  │ pages
//	                           Line: the log
//
// Each log proves continuity in its own way. It implements a [Line], judges each message by its own means,
// and tells the follower only the result: give, hold, repair, or a gap.
//
// Guarantees: a sink gets each publication that a line gives exactly once, in order, from one goroutine at a
// time. A sink that blocks delays only the goroutine that delivers for its channel; messages that arrive
// meanwhile are held within a bound. No lock is held while a sink is called or the log is read. Callers that
// wait for the same channel to begin do not affect each other.
package follow
