package streams

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

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
	if a, ok := plainAck(m.Data, stream); ok {
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

// plainAck reads an answer in the forms that servers give to nearly all messages. Some write a
// space before the names of members, and those of a domain its name.
func plainAck(text []byte, stream string) (ack, bool) {
	rest, ok := bytes.CutPrefix(text, []byte(`{"stream":"`))
	if !ok || len(rest) <= len(stream) || string(rest[:len(stream)]) != stream {
		return ack{}, false
	}
	if rest, ok = bytes.CutPrefix(rest[len(stream):], []byte(`",`)); !ok {
		return ack{}, false
	}
	if domain, found := bytes.CutPrefix(unspaced(rest), []byte(`"domain":"`)); found {
		end := bytes.IndexByte(domain, '"')
		if end < 0 || bytes.IndexByte(domain[:end], '\\') >= 0 {
			return ack{}, false
		}
		if rest, ok = bytes.CutPrefix(domain[end+1:], []byte(",")); !ok {
			return ack{}, false
		}
	}
	if rest, ok = bytes.CutPrefix(unspaced(rest), []byte(`"seq":`)); !ok {
		return ack{}, false
	}
	end := bytes.IndexAny(rest, ",}")
	if end < 0 {
		return ack{}, false
	}
	again, count := string(rest[end:]) == `,"duplicate": true}`, 0
	if !again && string(rest[end:]) != "}" {
		if count, ok = batchCount(rest[end:]); !ok {
			return ack{}, false
		}
	}
	offset, err := strconv.ParseUint(string(rest[:end]), 10, 64)
	return ack{stream: stream, offset: offset, duplicate: again, count: count}, err == nil
}

// batchCount reads the end of an answer to a batch, which names the batch and the number of its messages.
func batchCount(text []byte) (int, bool) {
	id, ok := bytes.CutPrefix(text, []byte(`,"batch":"`))
	end := bytes.IndexByte(id, '"')
	if !ok || end < 0 || bytes.IndexByte(id[:end], '\\') >= 0 {
		return 0, false
	}
	number, ok := bytes.CutPrefix(id[end+1:], []byte(`,"count":`))
	if !ok {
		return 0, false
	}
	if number, ok = bytes.CutSuffix(number, []byte("}")); !ok || len(number) == 0 || number[0] < '1' || number[0] > '9' {
		return 0, false
	}
	count, err := strconv.Atoi(string(number))
	return count, err == nil
}

// unspaced is a text without the space that it may begin with.
func unspaced(text []byte) []byte {
	if len(text) > 0 && text[0] == ' ' {
		return text[1:]
	}
	return text
}
