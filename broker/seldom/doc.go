// Package seldom keeps lines of a log from repeating where many events bring them about:
// the first is written, those that follow soon are counted, and the next line has their
// number.
package seldom
