package hub

import (
	"container/list"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/sluicehq/sluice/gateway/socket/websocket"
)

// WebSocket close codes (RFC 6455 section 7.4.1) for frames that are refused.
const (
	closeProtocolError = 1002
	closeInvalidData   = 1007
	closeTooLarge      = 1009
)

// badFrame is why a frame is refused. Its reasons are label values of a metric, and its
// text is for the one who sent it.
type badFrame struct {
	reason string
	code   uint16
	text   string
}

var (
	frameTooLarge   = &badFrame{"too_large", closeTooLarge, "the message is larger than %d bytes (websocket_max_payload_kb)"}
	frameUnmasked   = &badFrame{"not_masked", closeProtocolError, "the frame is not masked (RFC 6455)"}
	frameReserved   = &badFrame{"reserved_bits", closeProtocolError, "the frame has reserved bits (RFC 6455)"}
	frameOpcode     = &badFrame{"opcode", closeProtocolError, "the frame has an opcode that does not exist (RFC 6455)"}
	frameControl    = &badFrame{"control", closeProtocolError, "the control frame is fragmented or too long (RFC 6455)"}
	frameFragment   = &badFrame{"fragments", closeProtocolError, "the fragment is out of place (RFC 6455)"}
	frameNotInflate = &badFrame{"compression", closeInvalidData, "the message cannot be inflated"}
	frameNotText    = &badFrame{"encoding", closeInvalidData, "the text is not UTF-8"}
)

var badFrames = [...]*badFrame{
	frameTooLarge, frameUnmasked, frameReserved, frameOpcode, frameControl, frameFragment, frameNotInflate, frameNotText,
}

// say is the text of a refusal.
func (b *badFrame) say(limit int) string {
	if b == frameTooLarge {
		return fmt.Sprintf(b.text, limit)
	}
	return b.text
}

var errBadFrame = errors.New("a frame was refused")

// guard reads a connection for the WebSocket library. It judges the head of each frame
// before the library sees it, because the library panics at lengths that cannot be, and
// makes a peer that sends too many frames wait.
type guard struct {
	from   io.Reader
	client *Client
	max    uint64 // bytes of a message

	// head is what has come of the head of a frame, rest what has not of its payload.
	head [10]byte
	have uint8
	// open: a message in fragments has begun; size is what it has so far.
	open bool
	size uint64
	rest uint64
	bad  *badFrame

	// held and place belong to the inbox; counted says that there may be something.
	held    int64
	place   *list.Element
	counted bool
}

// Read implements [io.Reader].
func (g *guard) Read(p []byte) (int, error) {
	if g.bad == nil {
		if g.counted && g.rest == 0 && !g.open {
			// The library asks for more when it has handled the message.
			g.settle()
		}
		n, err := g.from.Read(p)
		frames, good := g.judge(p[:n])
		g.client.paceFrames(frames)
		if g.bad == nil || good > 0 {
			return good, err
		}
	}
	// The library has handled all that came before.
	g.client.refuseFrame(g.bad)
	return 0, errBadFrame
}

// settle gives back what was counted of a message that is through. The reading goroutine
// calls it last, when the connection ends.
func (g *guard) settle() {
	if g.counted {
		g.counted = false
		g.client.hub.inbox.release(g)
	}
}

// judge returns the number of frames that begin in p, and how much of p the library may
// see: all but a bad frame and what follows it.
func (g *guard) judge(p []byte) (frames, good int) {
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
func (g *guard) headSize() uint8 {
	switch g.head[1] & 0x7f {
	case 126:
		return 4
	case 127:
		return 10
	}
	return 2
}

// begin judges a frame of which the head is complete.
func (g *guard) begin() *badFrame {
	g.have = 0
	first, length := g.head[0], uint64(g.head[1]&0x7f)
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(g.head[2:]))
	case 127:
		length = binary.BigEndian.Uint64(g.head[2:])
	}
	fin, opcode := first&websocket.Fin != 0, first&0xf
	switch {
	case g.head[1]&0x80 == 0:
		return frameUnmasked
	case first&0x30 != 0, first&0x40 != 0 && (!g.client.deflates || opcode != websocket.Text && opcode != websocket.Binary):
		return frameReserved
	case opcode >= websocket.Close && opcode <= websocket.Pong:
		if !fin || g.head[1]&0x7f > 125 {
			return frameControl
		}
	case opcode > websocket.Binary:
		return frameOpcode
	case g.open != (opcode == websocket.Continuation):
		return frameFragment
	default:
		if opcode != websocket.Continuation {
			g.size = 0
		}
		if length > g.max || g.size+length > g.max {
			return frameTooLarge
		}
		g.open = !fin
		g.size += length
		if g.size > smallMessage {
			g.counted = true
			g.client.hub.inbox.hold(g, length)
		}
	}
	g.rest = length + 4
	return nil
}

// refuseFrame ends a connection because of what it sent.
func (c *Client) refuseFrame(b *badFrame) {
	c.hub.opt.Metrics.badFrame(b.reason)
	if c.refused != 0 {
		return
	}
	if b == frameTooLarge {
		c.limited("message_size")
	}
	c.hub.opt.Logger.Debug("a frame was refused", "app", c.app.ID, "socket_id", c.id,
		"address", c.address, "reason", b.reason)
	c.sock.End(websocket.Closing(b.code, b.say(c.hub.opt.MaxMessage)))
}
