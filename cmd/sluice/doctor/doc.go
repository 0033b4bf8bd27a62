// Package doctor finds out what is wrong, or soon will be, with a configuration, the machine
// and the log behind it: what "sluice doctor" says.
//
// Facts are collected by thin code that changes nothing anywhere; what they mean is decided
// by pure functions, one for each kind of facts, which return findings. Each finding says what
// was looked at, what it is, and what to do.
package doctor
