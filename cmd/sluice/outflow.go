package main

import (
	"bytes"
	"fmt"
	"io"
)

// outflow is an output of events, one after the other, of which it is known how many came
// through. It writes pieces of whole events, and nothing more once it has failed. One goroutine
// uses it.
type outflow struct {
	out     io.Writer
	waiting bytes.Buffer
	// ends are where in waiting the events end.
	ends []eventEnd
	// done is the serial of the last event that is out as a whole.
	done uint64
	// torn is set if a part of the next one is out as well.
	torn bool
	err  error
}

type eventEnd struct {
	at     int
	serial uint64
}

// outflowPiece is how much is written at once.
const outflowPiece = 64 << 10

// Write implements [io.Writer] for what an event consists of.
func (w *outflow) Write(part []byte) (int, error) { return w.waiting.Write(part) }

// end says that what was written last is an event as a whole.
func (w *outflow) end(serial uint64) error {
	w.ends = append(w.ends, eventEnd{w.waiting.Len(), serial})
	if w.waiting.Len() < outflowPiece {
		return nil
	}
	return w.flush()
}

// flush writes what waits.
func (w *outflow) flush() error {
	if w.err != nil || w.waiting.Len() == 0 {
		return w.err
	}
	n, err := w.out.Write(w.waiting.Bytes())
	whole := 0
	for _, e := range w.ends {
		if e.at > n {
			break
		}
		whole, w.done = e.at, e.serial
	}
	if err != nil {
		w.torn, w.err = n > whole, fmt.Errorf("writing: %w", err)
	}
	w.waiting.Reset()
	w.ends = w.ends[:0]
	return w.err
}

// tornHint is said before the command that goes on.
const tornHint = "What was written may end in the middle of a line; take that away first.\n  "
