// Package seldom limits the rate of repeated log lines. The first line of a cause is written, lines that
// follow soon are only counted, and the next written line has their number.
package seldom
