package rest

import (
	"io"
	"sync"
)

// piece is how much of a body is read at a time. A length up to it is believed.
const piece = 64 << 10

var pieces = sync.Pool{New: func() any { return new([piece]byte) }}

// readBody reads a body to its end. What announces a usual length is read into one piece.
// For anything larger there is only room when it has come as a whole: pieces of bodies that
// turn out to be too large are used again.
func readBody(r io.Reader, announced int64) ([]byte, error) {
	if announced >= 0 && announced <= piece {
		body := make([]byte, announced)
		_, err := io.ReadFull(r, body)
		return body, err
	}
	var have []*[piece]byte
	defer func() {
		for _, p := range have {
			pieces.Put(p)
		}
	}()
	for total, room := 0, []byte(nil); ; {
		if len(room) == 0 {
			p := pieces.Get().(*[piece]byte)
			have, room = append(have, p), p[:]
		}
		n, err := r.Read(room)
		total, room = total+n, room[n:]
		switch err {
		case nil:
		case io.EOF:
			body := make([]byte, 0, total)
			for _, p := range have {
				body = append(body, p[:min(total-len(body), piece)]...)
			}
			return body, nil
		default:
			return nil, err
		}
	}
}
