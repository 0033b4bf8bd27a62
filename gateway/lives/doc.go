// Package lives lets a single channel begin a new life in a log whose own life goes on.
//
// An operator may purge the past of a channel, or reset it: then nothing of the past is left
// either, and the channel has another stream id, so that positions of before fail. Both leave a
// record in the cluster's table, which is only ever replaced and never removed. Every gateway
// follows the records and has them in memory. A [Log] puts them between the log and all who use
// it: what the log calls its epoch is, for a channel that was reset, the epoch with the mark of
// the channel behind it, in publications, positions, gaps and what is retained alike. So nobody
// else needs to know that channels can be reset, and nobody can show a stream id that is not
// the one that others judge by.
//
// The data is removed before the record is written, so a record never promises more than the
// log does. A gateway that has not heard of it yet goes on under the old id; positions that it
// gives out fail later, which is what a reset means.
package lives
