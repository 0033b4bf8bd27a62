// Package lives lets a single channel begin a new life in a log whose epoch continues.
//
// An operator may purge the past of a channel, or reset it. A reset also removes the past, and gives the
// channel another stream id, so that earlier positions fail. Both write a record to the cluster's table,
// which is only ever replaced and never removed. Every gateway follows the records and has them in memory. A
// [Log] applies them between the log and its users: for a channel that was reset, the epoch is that of the
// log followed by the mark of the channel, in publications, positions, gaps and retained ranges. So other
// packages need not know that channels can be reset, and none can show a stream id other than the one by
// which positions are judged.
//
// The data is removed before the record is written, so a record never promises more than the log does. A
// gateway that has not heard of it yet continues under the old id. Positions that it gives out fail later, as
// a reset intends.
package lives
