// Package doctor finds problems, present and future ones, of a configuration, the machine and the log. It
// implements "sluice doctor".
//
// Thin code collects facts and changes nothing. Pure functions, one for each kind of facts, judge them and
// return findings. Each finding says what was examined, its state, and what to do.
package doctor
