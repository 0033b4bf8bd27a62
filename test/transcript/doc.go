// Package transcript reads tests that are text files: what goes in, a line, what comes out.
//
// A file has steps, each of which begins with a line of input. Lines of input go on to a line
// of four dashes, and lines of output from there to the next blank line:
//
//	# what the step shows; lines that begin with # stay as they are
//	input
//	more input
//	----
//	output
//
//	input of the next step
//	----
//
// Output has no blank line. With the flag -update the files are written anew, with what comes
// out now; whoever does that reads the difference.
package transcript
