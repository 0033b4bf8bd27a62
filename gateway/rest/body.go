package rest

import (
	"errors"
	"io"
	"sync"
)

// piece is how much of a body is read at a time, in bytes. A body of announced length up to it gets its memory
// at once.
const piece = 64 << 10

var pieces = sync.Pool{New: func() any { return new([piece]byte) }}

// readBody reads a body to its end. A body of a usual announced length gets its memory at once. Others are read
// into pieces, which are reused, and are copied to memory of their own only when complete. All memory is taken
// from h first.
func readBody(r io.Reader, announced int64, h *hold) ([]byte, error) {
	if announced >= 0 && announced <= piece {
		if !h.take(announced) {
			return nil, errFull
		}
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
			// Each piece exists twice when the body is put together.
			if !h.take(2 * piece) {
				return nil, errFull
			}
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
			h.give(2*piece*int64(len(have)) - int64(total))
			return body, nil
		default:
			return nil, err
		}
	}
}

// errFull is the error for a body for which there is no room at the moment.
var errFull = errors.New("no room for the body")

// bodies bounds the bytes of all bodies of requests that are being read or answered. If there are several apps,
// one app gets at most half, so that its slow publishers cannot keep out those of others. It is safe for
// concurrent use.
type bodies struct {
	max  int64
	apps func() int

	mu   sync.Mutex
	held int64
	of   map[string]int64
}

func newBodies(limit int64, apps func() int) *bodies {
	return &bodies{max: limit, apps: apps, of: map[string]int64{}}
}

// share returns how much one app may have, in bytes.
func (b *bodies) share() int64 {
	if b.apps() > 1 {
		return b.max / 2
	}
	return b.max
}

// hold is what one request has taken of bodies. It is not safe for concurrent use.
type hold struct {
	bodies *bodies
	app    string
	bytes  int64
}

func (h *hold) take(n int64) bool {
	b := h.bodies
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held+n > b.max || b.of[h.app]+n > b.share() {
		return false
	}
	b.held += n
	b.of[h.app] += n
	h.bytes += n
	return true
}

func (h *hold) give(n int64) {
	b := h.bodies
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held -= n
	if b.of[h.app] -= n; b.of[h.app] == 0 {
		delete(b.of, h.app)
	}
	h.bytes -= n
}

// release gives back the rest.
func (h *hold) release() {
	if h.bytes > 0 {
		h.give(h.bytes)
	}
}

// AnswerBytes returns the bytes of large answers that wait for their readers.
func (a *API) AnswerBytes() int64 {
	a.answers.mu.Lock()
	defer a.answers.mu.Unlock()
	return a.answers.held
}

// BodyBytes returns the bytes that the bodies of all requests hold.
func (a *API) BodyBytes() int64 {
	a.bodies.mu.Lock()
	defer a.bodies.mu.Unlock()
	return a.bodies.held
}
