package pusher

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// ClientFrame is a message of a client. All of it is copied and may be kept.
type ClientFrame struct {
	// Event is not empty.
	Event   string
	Channel string
	// Data is one JSON value, nil if the member is missing or null.
	Data json.RawMessage
}

// MaxDepth is how deep objects and arrays may be nested in what this package
// reads. Readers of JSON recurse; without a bound a message of nothing but
// brackets would cost a hundred times its size in stack.
const MaxDepth = 128

// ErrTooDeep is returned for JSON that is nested deeper than [MaxDepth].
var ErrTooDeep = fmt.Errorf("the JSON is nested deeper than %d", MaxDepth)

var (
	errNotUTF8   = errors.New("the message is not UTF-8")
	errNotJSON   = errors.New("the message is not JSON")
	errNotObject = errors.New("the message is not a JSON object")
)

// ParseClientFrame takes a message apart (protocol section 1.2). b is not kept. With an
// error the frame has the event and the channel that it is about, as far as these can be
// read, for there somebody may wait for an answer.
func ParseClientFrame(b []byte) (ClientFrame, error) {
	text := string(b)
	root, err := object(text)
	if err == ErrTooDeep {
		return about(gjson.Parse(text)), err
	}
	if err != nil {
		return ClientFrame{}, err
	}
	event := root.Get("event")
	if event.Type != gjson.String || event.Str == "" {
		return ClientFrame{}, errors.New("event is missing or not a string")
	}
	f := ClientFrame{Event: strings.Clone(event.Str)}
	switch channel := root.Get("channel"); channel.Type {
	case gjson.String:
		f.Channel = strings.Clone(channel.Str)
	case gjson.Null:
	default:
		return about(root), errors.New("channel is not a string")
	}
	f.Data = raw(root, "data")
	return f, nil
}

// about reads of a frame that is not taken what event and channel it is about.
func about(root gjson.Result) ClientFrame {
	channel := root.Get("data.channel")
	if channel.Type != gjson.String {
		channel = root.Get("channel")
	}
	return ClientFrame{Event: root.Get("event").Str, Channel: channel.Str}
}

// CheckJSON checks that a text is one JSON value (RFC 8259), is UTF-8, and is not
// nested deeper than [MaxDepth].
func CheckJSON(text string) error {
	switch {
	case !utf8.ValidString(text):
		return errNotUTF8
	case tooDeep(text):
		return ErrTooDeep
	case !gjson.Valid(text):
		return errNotJSON
	}
	return nil
}

// tooDeep may be asked about any text; for what is not JSON the answer means
// nothing. Most texts have too few brackets to be deep, which is quick to see.
func tooDeep(text string) bool {
	if strings.Count(text, "[")+strings.Count(text, "{") <= MaxDepth {
		return false
	}
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			if depth++; depth > MaxDepth {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

// object checks that a text is one JSON object.
func object(text string) (gjson.Result, error) {
	if err := CheckJSON(text); err != nil {
		return gjson.Result{}, err
	}
	root := gjson.Parse(text)
	if !root.IsObject() {
		return gjson.Result{}, errNotObject
	}
	return root, nil
}

// payload reads the data of a protocol event, which may be an object or a string
// that contains one. Missing data is an empty object.
func payload(data json.RawMessage) (gjson.Result, error) {
	if len(data) == 0 {
		return gjson.Parse("{}"), nil
	}
	text := string(data)
	if err := CheckJSON(text); err != nil {
		return gjson.Result{}, fmt.Errorf("data: %w", err)
	}
	v := gjson.Parse(text)
	switch {
	case v.Type == gjson.Null, v.Type == gjson.String && v.Str == "":
		return gjson.Parse("{}"), nil
	case v.Type == gjson.String:
		inner, err := object(v.Str)
		if err != nil {
			return inner, errors.New("data is a string that holds no JSON object")
		}
		return inner, nil
	case !v.IsObject():
		return v, errors.New("data is neither an object nor a string")
	}
	return v, nil
}

// raw reads a member whose meaning is none of this package's business, nil if it
// is missing or null.
func raw(v gjson.Result, member string) json.RawMessage {
	m := v.Get(member)
	if m.Type == gjson.Null {
		return nil
	}
	return json.RawMessage(m.Raw)
}

// text reads a member that must be a string if it is there.
func text(v gjson.Result, member string) (string, error) {
	switch m := v.Get(member); m.Type {
	case gjson.String:
		return m.Str, nil
	case gjson.Null:
		return "", nil
	default:
		return "", fmt.Errorf("%s is not a string", member)
	}
}
