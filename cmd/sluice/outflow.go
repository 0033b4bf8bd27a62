package main

import (
	"bytes"
	"fmt"
	"io"
)

// outflow is an output of events that knows which events were written completely. It writes pieces of whole
// events, and nothing after an error. It is not safe for concurrent use.
type outflow struct {
	out     io.Writer
	waiting bytes.Buffer
	// ends are the ends of the events in waiting.
	ends []eventEnd
	// done is the serial of the last event that was written completely.
	done uint64
	// torn is set if a part of the next event was written as well.
	torn bool
	err  error
}

type eventEnd struct {
	at     int
	serial uint64
}

// outflowPiece is how much is written at once, in bytes.
const outflowPiece = 64 << 10

// Write implements [io.Writer]. It adds a part of an event.
func (w *outflow) Write(part []byte) (int, error) { return w.waiting.Write(part) }

// end marks the end of an event.
func (w *outflow) end(serial uint64) error {
	w.ends = append(w.ends, eventEnd{w.waiting.Len(), serial})
	if w.waiting.Len() < outflowPiece {
		return nil
	}
	return w.flush()
}

// flush writes the waiting events.
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

// tornHint is printed before the command that continues.
const tornHint = "What was written may end in the middle of a line; take that away first.\n  "
