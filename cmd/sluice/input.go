package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// input is standard input or a file. A read from a terminal or a pipe may block forever and cannot be
// interrupted. So a goroutine reads, at most one piece ahead, and the reader also waits for the end of the
// context. It is not safe for concurrent use.
type input struct {
	ctx  context.Context
	from io.Reader
	// idle is called before a wait for further input; may be nil. Its error ends the input.
	idle func() error

	pieces chan []byte
	// ended is why the goroutine ended. It is valid once pieces is closed.
	ended error
	gone  chan struct{}
	rest  []byte
	err   error
}

// inputPiece is how much is read at once, in bytes.
const inputPiece = 64 << 10

// newInput reads until the end of the input, the end of the context, or close.
func newInput(ctx context.Context, from io.Reader) *input {
	in := &input{ctx: ctx, from: from, pieces: make(chan []byte), gone: make(chan struct{})}
	go in.fill()
	return in
}

// typed returns the standard input of a command.
func typed(cmd *cobra.Command) *input { return newInput(cmd.Context(), cmd.InOrStdin()) }

// typedLine returns a line of standard input without its end, empty if none comes before the context ends.
func typedLine(cmd *cobra.Command) string {
	in := typed(cmd)
	defer in.close()
	line, err := bufio.NewReader(in).ReadString('\n')
	if in.failure() != nil || err != nil && line == "" {
		return ""
	}
	return strings.TrimRight(line, "\r\n")
}

// close releases the goroutine. If it waits for a terminal or a pipe, it ends with the next input or with the
// process.
func (in *input) close() { close(in.gone) }

func (in *input) fill() {
	defer close(in.pieces)
	var buffers [2][]byte // one is filled while the other is in use
	for i := 0; ; i ^= 1 {
		if buffers[i] == nil {
			buffers[i] = make([]byte, inputPiece)
		}
		n, err := in.from.Read(buffers[i])
		if n > 0 {
			select {
			case in.pieces <- buffers[i][:n]:
			case <-in.gone:
				return
			}
		}
		if in.ended = err; err != nil {
			return
		}
	}
}

// Read implements [io.Reader]. If the context ends first, it returns the error of the context.
func (in *input) Read(p []byte) (int, error) {
	if len(in.rest) == 0 && in.err == nil {
		in.rest, in.err = in.piece()
	}
	if len(in.rest) == 0 {
		return 0, in.err
	}
	n := copy(p, in.rest)
	in.rest = in.rest[n:]
	return n, nil
}

func (in *input) piece() (piece []byte, err error) {
	if err := in.ctx.Err(); err != nil {
		return nil, err
	}
	open := false
	select {
	case piece, open = <-in.pieces:
	default:
		if in.idle != nil {
			if err := in.idle(); err != nil {
				return nil, err
			}
		}
		select {
		case piece, open = <-in.pieces:
		case <-in.ctx.Done():
			return nil, in.ctx.Err()
		}
	}
	if !open {
		return nil, in.ended
	}
	return piece, nil
}

// failure returns why the input ended, nil at its regular end. With an error, the last read may be incomplete.
func (in *input) failure() error {
	if errors.Is(in.err, io.EOF) {
		return nil
	}
	return in.err
}
