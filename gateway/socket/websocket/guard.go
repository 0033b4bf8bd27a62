package websocket

import (
	"bufio"
	"bytes"
	"container/list"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// WebSocket close codes (RFC 6455 section 7.4.1) for frames that are refused.
const (
	closeProtocolError = 1002
	closeInvalidData   = 1007
	closeTooLarge      = 1009
)

// BadFrame is why a frame is refused.
type BadFrame struct {
	// Reason is a word for metrics, Code the one of the close frame.
	Reason string
	Code   uint16
	text   string
}

var (
	// TooLarge is the message that is larger than the connection may send.
	TooLarge      = &BadFrame{"too_large", closeTooLarge, "the message is larger than %d bytes (websocket_max_payload_kb)"}
	notMasked     = &BadFrame{"not_masked", closeProtocolError, "the frame is not masked (RFC 6455)"}
	reserved      = &BadFrame{"reserved_bits", closeProtocolError, "the frame has reserved bits (RFC 6455)"}
	unknownOpcode = &BadFrame{"opcode", closeProtocolError, "the frame has an opcode that does not exist (RFC 6455)"}
	wrongControl  = &BadFrame{"control", closeProtocolError, "the control frame is fragmented or too long (RFC 6455)"}
	outOfPlace    = &BadFrame{"fragments", closeProtocolError, "the fragment is out of place (RFC 6455)"}
	notInflated   = &BadFrame{"compression", closeInvalidData, "the message cannot be inflated"}
	notText       = &BadFrame{"encoding", closeInvalidData, "the text is not UTF-8"}
)

// BadFrames are all of them.
var BadFrames = [...]*BadFrame{
	TooLarge, notMasked, reserved, unknownOpcode, wrongControl, outOfPlace, notInflated, notText,
}

// Say is the refusal in words for the one who sent the frame. limit is the largest message in
// bytes.
func (b *BadFrame) Say(limit int) string {
	if b == TooLarge {
		return fmt.Sprintf(b.text, limit)
	}
	return b.text
}

var errRefused = errors.New("a frame was refused")

// Peer is whose frames a guard reads. The goroutine that reads calls its methods, except
// TooSlow.
type Peer interface {
	// Listens is called before the connection is read: all messages that came were handled.
	Listens()
	// Pace is called when something has come, with the heads of that many frames. It may wait: the
	// connection is read no further meanwhile.
	Pace(frames int)
	// Refuse ends the connection because of what it sent.
	Refuse(*BadFrame)
	// TooSlow ends the connection for the good of others: its message began and takes too
	// long. Any goroutine may call it.
	TooSlow()
}

// Guard reads a connection for the WebSocket library. It judges the head of each frame
// before the library sees it, because the library panics at lengths that cannot be, and
// makes a peer that sends too many frames wait.
type Guard struct {
	from  io.Reader
	peer  Peer
	inbox *Inbox
	max   uint64 // bytes of a message

	// head is what has come of the head of a frame, rest what has not of its payload.
	head [10]byte
	have uint8
	// open: a message in fragments has begun; size is what it has so far.
	open bool
	// deflates: messages may be compressed.
	deflates bool
	// counted: the inbox may hold something, held bytes at a place.
	counted bool
	size    uint64
	rest    uint64
	bad     *BadFrame
	held    int64
	place   *list.Element
}

// readBuffer is the size of a connection's read buffer. Client messages are
// small and larger ones are read past it: with 256 bytes instead of the usual 4 KiB an
// idle connection needs a third of the memory.
const readBuffer = 256

// NewGuard reads a connection, of which some bytes came early. max is the largest message in
// bytes, and deflates says that messages may be compressed.
func NewGuard(conn io.Reader, early []byte, peer Peer, inbox *Inbox, max int, deflates bool) *Guard {
	if len(early) > 0 {
		conn = io.MultiReader(bytes.NewReader(early), conn)
	}
	return &Guard{from: conn, peer: peer, inbox: inbox, max: uint64(max), deflates: deflates}
}

// Buffered is the guard as the library wants it.
func (g *Guard) Buffered() *bufio.Reader { return bufio.NewReaderSize(g, readBuffer) }

// Read implements [io.Reader].
func (g *Guard) Read(p []byte) (int, error) {
	if g.bad == nil {
		if g.counted && g.rest == 0 && !g.open {
			// The library asks for more when it has handled the message.
			g.Settle()
		}
		g.peer.Listens()
		n, err := g.from.Read(p)
		frames, good := g.judge(p[:n])
		g.peer.Pace(frames)
		if g.bad == nil || good > 0 {
			return good, err
		}
	}
	// The library has handled all that came before.
	g.peer.Refuse(g.bad)
	return 0, errRefused
}

// Settle gives back what was counted of a message that is through. The reading goroutine
// calls it last, when the connection ends.
func (g *Guard) Settle() {
	if g.counted {
		g.counted = false
		g.inbox.release(g)
	}
}

// judge returns the number of frames that begin in p, and how much of p the library may
// see: all but a bad frame and what follows it.
func (g *Guard) judge(p []byte) (frames, good int) {
	for i := 0; i < len(p); {
		if g.rest > 0 {
			skip := min(g.rest, uint64(len(p)-i))
			g.rest -= skip
			i += int(skip)
			continue
		}
		if g.have == 0 {
			frames, good = frames+1, i
		}
		g.head[g.have] = p[i]
		g.have++
		i++
		if g.have < 2 || g.have < g.headSize() {
			continue
		}
		if g.bad = g.begin(); g.bad != nil {
			return frames, good
		}
	}
	return frames, len(p)
}

// headSize is the size of a head without its mask.
func (g *Guard) headSize() uint8 {
	switch g.head[1] & 0x7f {
	case 126:
		return 4
	case 127:
		return 10
	}
	return 2
}

// begin judges a frame of which the head is complete.
func (g *Guard) begin() *BadFrame {
	g.have = 0
	first, length := g.head[0], uint64(g.head[1]&0x7f)
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(g.head[2:]))
	case 127:
		length = binary.BigEndian.Uint64(g.head[2:])
	}
	fin, opcode := first&Fin != 0, first&0xf
	switch {
	case g.head[1]&0x80 == 0:
		return notMasked
	case first&0x30 != 0, first&0x40 != 0 && (!g.deflates || opcode != Text && opcode != Binary):
		return reserved
	case opcode >= Close && opcode <= Pong:
		if !fin || g.head[1]&0x7f > 125 {
			return wrongControl
		}
	case opcode > Binary:
		return unknownOpcode
	case g.open != (opcode == Continuation):
		return outOfPlace
	default:
		if opcode != Continuation {
			g.size = 0
		}
		if length > g.max || g.size+length > g.max {
			return TooLarge
		}
		g.open = !fin
		g.size += length
		if g.size > smallMessage {
			g.counted = true
			g.inbox.hold(g, length)
		}
	}
	g.rest = length + 4
	return nil
}
