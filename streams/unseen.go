package streams

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// maxAsking bounds how many messages are read anew at the same time.
const maxAsking = 4

// complete reads the messages of an answer anew whose places could not be seen. The
// leader names their places outside of the headers. Those that retention has removed
// meanwhile are left out.
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
		// Nobody may take that for the end.
		return r.fetch(ctx, stream, q)
	}
	return out, nil
}

// before says whether a message precedes those that were seen.
func before(m stored, rest []stored) bool {
	for _, other := range rest {
		if other.offset > 0 {
			return m.offset < other.offset
		}
	}
	return true
}

// completeLast asks for the newest message of each subject of which none was seen. That
// of a subject may have become another one meanwhile, which is as good.
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

// ask is leaderGet for messages whose places could not be seen. A publisher may make as
// many of those as he likes, so only some are asked for at a time.
func (r *reader) ask(ctx context.Context, stream string, q getRequest) (stored, bool, error) {
	done, err := r.asking.Take(ctx, stream)
	if err != nil {
		return stored{}, false, err
	}
	defer done()
	return r.leaderGet(ctx, stream, q)
}

// read makes a message of what the leader said. The publisher's block is read as the
// server gives it out, so that everybody sees the same of it, whichever way it came.
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

// ended is the block of a publisher with the end that he may have left out. Without it the last two bytes of his last line
// would be taken off, and the first line of the server would become its end.
func ended(block []byte) []byte {
	const end = "\r\n"
	for range 2 {
		if len(block) > len(end) && !bytes.HasSuffix(block, []byte(end+end)) {
			block = append(bytes.Clone(block), end...)
		}
	}
	return block
}

// composed is the block of a publisher with the lines of the server, as the server puts
// it together.
func composed(block []byte, p place) []byte {
	const end = "\r\n"
	out := []byte("NATS/1.0\r\n")
	if len(block) > len(end) {
		out = bytes.Clone(block[:len(block)-len(end)])
	}
	return fmt.Appendf(out, "%s: %s\r\n%s: %s\r\n%s: %d\r\n%s: %s\r\n\r\n", nats.JSStream, p.stream, nats.JSSubject, p.subject,
		nats.JSSequence, p.offset, nats.JSTimeStamp, p.time.UTC().Format(time.RFC3339Nano))
}

// readBlock reads a whole header block. Unlike the client library it does not stop
// reading where a publisher wants it to.
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
