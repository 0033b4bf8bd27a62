package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// input is standard input, or a file. A terminal or a pipe may bring nothing for as long as it
// likes, and reading it cannot be called off: a goroutine reads, one piece ahead at most, and who
// takes waits for the end of the command as well. One goroutine takes.
type input struct {
	ctx  context.Context
	from io.Reader
	// idle is called before it is waited for what is not there yet; nil is not. Its error ends
	// the input.
	idle func() error

	pieces chan []byte
	// ended is why the goroutine ended, valid once pieces is closed.
	ended error
	gone  chan struct{}
	rest  []byte
	err   error
}

// inputPiece is how much is read at once.
const inputPiece = 64 << 10

// newInput reads until the end of the input, of the context, or until close.
func newInput(ctx context.Context, from io.Reader) *input {
	in := &input{ctx: ctx, from: from, pieces: make(chan []byte), gone: make(chan struct{})}
	go in.fill()
	return in
}

// typed is the standard input of a command.
func typed(cmd *cobra.Command) *input { return newInput(cmd.Context(), cmd.InOrStdin()) }

// typedLine is a line of standard input without its end, empty if none comes before the command
// ends.
func typedLine(cmd *cobra.Command) string {
	in := typed(cmd)
	defer in.close()
	line, err := bufio.NewReader(in).ReadString('\n')
	if in.failure() != nil || err != nil && line == "" {
		return ""
	}
	return strings.TrimRight(line, "\r\n")
}

// close lets go of the goroutine. One that waits for a terminal or a pipe ends when something
// comes of it, or with the process.
func (in *input) close() { close(in.gone) }

func (in *input) fill() {
	defer close(in.pieces)
	var buffers [2][]byte // One is filled while the other one is taken.
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

// Read implements [io.Reader]. It fails with the error of the context when that ends first.
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

// failure is why it ended, nil for the end of what there is. What was read last may be a part
// then.
func (in *input) failure() error {
	if errors.Is(in.err, io.EOF) {
		return nil
	}
	return in.err
}
