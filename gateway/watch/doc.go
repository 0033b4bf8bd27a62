// Package watch detects changed files. It polls them and relies only on their content, so that it works with
// whatever replaces a file: writing into it, renaming over it, swapping the links of a mounted secret, a network
// file system without notifications. It reports a change when two looks in a row have found the same, so a
// half-written file, or a pair of which only one is written, is rarely reported; callers must still validate
// what they read.
//
// It opens only the given files and has no goroutine. The caller decides how often to look, and what a change
// means.
package watch
