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

// These are the close codes for frames that are refused (RFC 6455 section 7.4.1).
const (
	closeProtocolError = 1002
	closeInvalidData   = 1007
	closeTooLarge      = 1009
)

// BadFrame is why a frame is refused.
type BadFrame struct {
	// Reason is a label for metrics, Code the code of the close frame.
	Reason string
	Code   uint16
	text   string
}

var (
	// TooLarge is for a message that is larger than the connection may send.
	TooLarge      = &BadFrame{"too_large", closeTooLarge, "the message is larger than %d bytes (websocket_max_payload_kb)"}
	notMasked     = &BadFrame{"not_masked", closeProtocolError, "the frame is not masked (RFC 6455)"}
	reserved      = &BadFrame{"reserved_bits", closeProtocolError, "the frame has reserved bits (RFC 6455)"}
	unknownOpcode = &BadFrame{"opcode", closeProtocolError, "the frame has an opcode that does not exist (RFC 6455)"}
	wrongControl  = &BadFrame{"control", closeProtocolError, "the control frame is fragmented or too long (RFC 6455)"}
	outOfPlace    = &BadFrame{"fragments", closeProtocolError, "the fragment is out of place (RFC 6455)"}
	notInflated   = &BadFrame{"compression", closeInvalidData, "the message cannot be inflated"}
	notText       = &BadFrame{"encoding", closeInvalidData, "the text is not UTF-8"}
)

// BadFrames are all of these.
var BadFrames = [...]*BadFrame{
	TooLarge, notMasked, reserved, unknownOpcode, wrongControl, outOfPlace, notInflated, notText,
}

// Say returns the refusal as a sentence for the sender of the frame. limit is the largest message in bytes.
func (b *BadFrame) Say(limit int) string {
	if b == TooLarge {
		return fmt.Sprintf(b.text, limit)
	}
	return b.text
}

var errRefused = errors.New("a frame was refused")

// Peer is the owner of a connection that a guard reads. The reading goroutine calls its methods, except
// TooSlow.
type Peer interface {
	// Listens is called before the connection is read: all messages so far were handled.
	Listens()
	// Pace is called after a read, with the number of frames that begin in it. It may wait. The connection is
	// not read meanwhile.
	Pace(frames int)
	// Refuse ends the connection because of a bad frame.
	Refuse(*BadFrame)
	// TooSlow ends the connection to free memory: its message has begun and is not complete. Any goroutine
	// may call it.
	TooSlow()
}

// Guard reads a connection for the WebSocket library. It checks the header of each frame before the library
// sees it, because the library panics at impossible lengths, and makes a peer that sends too many frames
// wait.
type Guard struct {
	from  io.Reader
	peer  Peer
	inbox *Inbox
	max   uint64 // of one message, in bytes

	// head is the part of a frame's header that has arrived, rest what is missing of its payload.
	head [10]byte
	have uint8
	// open: a fragmented message has begun; size is its size so far.
	open bool
	// deflates: messages may be compressed.
	deflates bool
	// counted: the inbox may count something of this guard. The inbox owns held and place.
	counted bool
	size    uint64
	rest    uint64
	bad     *BadFrame
	held    int64
	place   *list.Element
}

// readBuffer is the size of a connection's read buffer in bytes. Client messages are small, and larger ones
// bypass it: with 256 bytes instead of the usual 4 KiB, an idle connection needs a third of the memory.
const readBuffer = 256

// NewGuard returns a guard that reads early, the bytes that arrived with the request, and then conn. max is
// the largest message in bytes, and deflates says that messages may be compressed.
func NewGuard(conn io.Reader, early []byte, peer Peer, inbox *Inbox, max int, deflates bool) *Guard {
	if len(early) > 0 {
		conn = io.MultiReader(bytes.NewReader(early), conn)
	}
	return &Guard{from: conn, peer: peer, inbox: inbox, max: uint64(max), deflates: deflates}
}

// Buffered returns the guard in the type that the library requires.
func (g *Guard) Buffered() *bufio.Reader { return bufio.NewReaderSize(g, readBuffer) }

// Read implements [io.Reader].
func (g *Guard) Read(p []byte) (int, error) {
	if g.bad == nil {
		if g.counted && g.rest == 0 && !g.open {
			// The library reads on only when it has handled the message.
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
	// The library has handled all frames before the bad one.
	g.peer.Refuse(g.bad)
	return 0, errRefused
}

// Settle releases what was counted of a complete message. The reading goroutine calls it last, when the
// connection ends.
func (g *Guard) Settle() {
	if g.counted {
		g.counted = false
		g.inbox.release(g)
	}
}

// judge returns the number of frames that begin in p, and how much of p the library may see: everything
// before a bad frame.
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

// headSize returns the size of a header without its mask.
func (g *Guard) headSize() uint8 {
	switch g.head[1] & 0x7f {
	case 126:
		return 4
	case 127:
		return 10
	}
	return 2
}

// begin checks a frame whose header is complete.
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
