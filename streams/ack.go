package streams

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ack is an acknowledgement of JetStream.
type ack struct {
	stream    string
	offset    uint64
	duplicate bool
	// count is the number of messages of a batch, 0 for a single message.
	count int
}

// statusHeader is the header in which the library puts the status of an answer. noResponders is the status of a server
// where nobody subscribes to the subject.
const statusHeader, noResponders = "Status", "503"

// readAck parses an answer. stream is the stream that is expected to answer.
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

// plainAck parses an answer in the forms that nearly all answers have, without the cost of a JSON decoder. Some servers write
// a space before the names of members, and servers with a JetStream domain write its name.
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

// batchCount parses the end of an answer to a batch, which has the id of the batch and the number of its messages.
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

// unspaced returns a text without a leading space.
func unspaced(text []byte) []byte {
	if len(text) > 0 && text[0] == ' ' {
		return text[1:]
	}
	return text
}
