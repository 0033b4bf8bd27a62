package streams

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// maxAsking bounds the messages that are read again from the leader at the same time.
const maxAsking = 4

// complete reads again, from the leader, the messages of an answer whose places could not be read from their headers.
// The leader gives the place outside of the headers. Messages that retention has removed meanwhile are left out.
func (r *reader) complete(ctx context.Context, stream string, q getRequest, got answer) ([]stored, error) {
	if len(q.MultiLast) > 0 {
		return r.completeLast(ctx, stream, q, got)
	}
	out := make([]stored, 0, len(got.messages))
	for i, m := range got.messages {
		if m.offset > 0 {
			out = append(out, m)
			continue
		}
		one := getRequest{Seq: q.Seq, NextFor: q.NextFor, LastFor: q.LastFor, StartTime: q.StartTime}
		if len(out) > 0 {
			one.Seq, one.StartTime = out[len(out)-1].offset+1, nil
		}
		m, found, err := r.ask(ctx, stream, one)
		if err != nil {
			return nil, err
		}
		if !found || !before(m, got.messages[i+1:]) {
			continue
		}
		m.pending = got.pending + uint64(len(got.messages)-1-i)
		out = append(out, m)
	}
	if len(out) == 0 && q.NextFor != "" {
		// An empty answer would be taken for the end of the channel.
		return r.fetch(ctx, stream, q)
	}
	return out, nil
}

// before reports whether a message precedes the ones in rest whose places are known.
func before(m stored, rest []stored) bool {
	for _, other := range rest {
		if other.offset > 0 {
			return m.offset < other.offset
		}
	}
	return true
}

// completeLast asks for the newest message of each subject that is missing in the answer. A subject may have got a newer
// message meanwhile, which is just as good.
func (r *reader) completeLast(ctx context.Context, stream string, q getRequest, got answer) ([]stored, error) {
	seen := map[string]bool{}
	out := make([]stored, 0, len(got.messages))
	for _, m := range got.messages {
		if m.offset > 0 {
			seen[m.subject] = true
			out = append(out, m)
		}
	}
	for _, subject := range q.MultiLast {
		if seen[subject] {
			continue
		}
		m, found, err := r.ask(ctx, stream, getRequest{LastFor: subject})
		if err != nil {
			return nil, err
		}
		if found {
			out = append(out, m)
		}
	}
	return out, nil
}

// ask is leaderGet for messages whose places could not be read. A publisher could produce any number of them, so the
// number of concurrent requests is limited.
func (r *reader) ask(ctx context.Context, stream string, q getRequest) (stored, bool, error) {
	done, err := r.asking.Take(ctx, stream)
	if err != nil {
		return stored{}, false, err
	}
	defer done()
	return r.leaderGet(ctx, stream, q)
}

// read converts the leader's reply. It parses the publisher's header block in the form in which the server delivers it,
// so that a message looks the same whichever way it was read.
func (r *reader) read(stream string, m *leaderMessage) stored {
	out := stored{
		place: place{stream: stream, subject: m.Subject, offset: m.Seq, time: m.Time},
		data:  m.Data,
	}
	if len(m.Headers) == 0 {
		return out
	}
	var err error
	if out.header, err = readBlock(composed(ended(m.Headers), out.place)); err != nil {
		out.header, out.unreadable = nil, fmt.Sprintf("the headers cannot be read: %v", err)
	}
	return out
}

// ended appends the line ends that the publisher may have left out of its header block. Without them, the server's first
// line would replace the last two bytes of the publisher's last line.
func ended(block []byte) []byte {
	const end = "\r\n"
	for range 2 {
		if len(block) > len(end) && !bytes.HasSuffix(block, []byte(end+end)) {
			block = append(bytes.Clone(block), end...)
		}
	}
	return block
}

// composed returns the block of a publisher with the lines of the server, as the server puts them together.
func composed(block []byte, p place) []byte {
	const end = "\r\n"
	out := []byte("NATS/1.0\r\n")
	if len(block) > len(end) {
		out = bytes.Clone(block[:len(block)-len(end)])
	}
	return fmt.Appendf(out, "%s: %s\r\n%s: %s\r\n%s: %d\r\n%s: %s\r\n\r\n", nats.JSStream, p.stream, nats.JSSubject, p.subject,
		nats.JSSequence, p.offset, nats.JSTimeStamp, p.time.UTC().Format(time.RFC3339Nano))
}

// readBlock parses a whole header block. Unlike the client library, it does not stop at an empty line that a publisher
// has put into it, but returns an error.
func readBlock(block []byte) (nats.Header, error) {
	h, err := nats.DecodeHeadersMsg(block)
	if err != nil {
		return nil, errors.New("a line has no colon, or the first is not that of NATS")
	}
	for rest := block; ; {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		switch {
		case len(bytes.TrimSuffix(line, []byte("\r"))) > 0:
			rest = after
		case len(after) > 0:
			return nil, errors.New("an empty line stands before their end")
		default:
			return h, nil
		}
	}
}
