package streams

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ack is what JetStream says of a message that it has stored.
type ack struct {
	stream    string
	offset    uint64
	duplicate bool
	// count is the number of messages, if it was a batch.
	count int
}

// statusHeader is that in which the library puts the status of an answer, and noResponders is
// that of a server which has nobody for a subject.
const statusHeader, noResponders = "Status", "503"

// readAck reads an answer. stream is the one that is expected to give it.
func readAck(m *nats.Msg, stream string) (ack, error) {
	if len(m.Data) == 0 && last(m.Header, statusHeader) == noResponders {
		return ack{}, jetstream.ErrNoStreamResponse
	}
	if a, ok := plainAck(string(m.Data), stream); ok {
		return a, nil
	}
	var answer struct {
		Error     *jetstream.APIError `json:"error"`
		Stream    string              `json:"stream"`
		Sequence  uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
		Count     int                 `json:"count"`
	}
	switch err := json.Unmarshal(m.Data, &answer); {
	case err != nil:
		return ack{}, jetstream.ErrInvalidJSAck
	case answer.Error != nil:
		return ack{}, fmt.Errorf("nats: %w", answer.Error)
	case answer.Stream == "":
		return ack{}, jetstream.ErrInvalidJSAck
	}
	return ack{answer.Stream, answer.Sequence, answer.Duplicate, answer.Count}, nil
}

// plainAck reads an answer in the form that servers give to nearly all messages.
func plainAck(text, stream string) (ack, bool) {
	const start, middle, again = `{"stream":"`, `", "seq":`, `,"duplicate": true}`
	rest, ok := strings.CutPrefix(text, start)
	if !ok {
		return ack{}, false
	}
	if rest, ok = strings.CutPrefix(rest, stream); !ok {
		return ack{}, false
	}
	if rest, ok = strings.CutPrefix(rest, middle); !ok {
		return ack{}, false
	}
	end := strings.IndexAny(rest, ",}")
	if end < 0 || rest[end:] != "}" && rest[end:] != again {
		return ack{}, false
	}
	offset, err := strconv.ParseUint(rest[:end], 10, 64)
	return ack{stream: stream, offset: offset, duplicate: rest[end:] == again}, err == nil
}
