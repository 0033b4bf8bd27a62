// Package transcript runs tests from text files: input, a separator line, and the expected output.
//
// A file consists of steps. The lines of a step up to a line of four dashes are its input, and the lines from
// there to the next blank line are its output:
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
// Output has no blank line. With the flag -update the files are rewritten with the present output; review the
// difference before committing it.
package transcript
