// Package follow is what following the channels of a log is, whatever the log: who follows
// which channel, how messages reach the sinks in order, what is held while something is
// missing, and how what is missing is read from the log.
//
//	live message ─► Queue ─► Follower ─► sinks
//	                            │  ▲
//	                     Repair ▼  │ pages
//	                           Line: the log
//
// How continuity is proven is the matter of each log: it implements a [Line], judges each
// message with its own means, and says here only what comes of it: give, hold, repair, a gap.
//
// What it promises: a sink gets what a line gives once, in order and by one goroutine at a
// time; a sink that takes nothing keeps nobody waiting but those who tell that channel, and
// what comes meanwhile is held within a bound; no lock is held while a sink is called or the
// log is read. Callers who wait for the same channel do not depend on each other.
package follow
