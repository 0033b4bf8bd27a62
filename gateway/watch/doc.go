// Package watch tells when files have changed. It looks at them again and again and trusts
// nothing but what they hold, so that it works with whatever replaces a file: writing into it,
// renaming over it, the links of a mounted secret that are swapped, a network file system that
// tells nobody. It reports a change when two looks in a row have found the same, so a file that
// is half written, or a pair of which only one has been written, is seldom seen; whoever reads
// them must still check them.
//
// It opens no file but those that it is given, has no goroutine, and decides nothing: who uses
// it says how often to look, and what a change means.
package watch
