package pusher

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// ClientFrame is a message of a client. Its Data is a copy and may be kept.
type ClientFrame struct {
	// Event is not empty.
	Event   string
	Channel string
	// Data is one JSON value, nil if the member is missing or null.
	Data json.RawMessage
}

var (
	errNotUTF8   = errors.New("the message is not UTF-8")
	errNotObject = errors.New("the message is not a JSON object")
)

// ParseClientFrame takes a message apart. b is not kept. Of members that occur
// twice the first counts. The size of b is bounded by whoever read it.
func ParseClientFrame(b []byte) (ClientFrame, error) {
	if !utf8.Valid(b) {
		return ClientFrame{}, errNotUTF8
	}
	root, err := object(string(b))
	if err != nil {
		return ClientFrame{}, err
	}
	event := root.Get("event")
	if event.Type != gjson.String || event.Str == "" {
		return ClientFrame{}, errors.New("event is missing or not a string")
	}
	f := ClientFrame{Event: event.Str}
	switch channel := root.Get("channel"); channel.Type {
	case gjson.String:
		f.Channel = channel.Str
	case gjson.Null:
	default:
		return ClientFrame{}, errors.New("channel is not a string")
	}
	if data := root.Get("data"); data.Type != gjson.Null {
		f.Data = json.RawMessage(data.Raw)
	}
	return f, nil
}

// object checks that a text is one JSON object.
func object(text string) (gjson.Result, error) {
	if !gjson.Valid(text) {
		return gjson.Result{}, errNotObject
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
	v := gjson.ParseBytes(data)
	if v.Type == gjson.String {
		if v.Str == "" {
			return gjson.Parse("{}"), nil
		}
		inner, err := object(v.Str)
		if err != nil {
			return inner, errors.New("data is a string that holds no JSON object")
		}
		return inner, nil
	}
	if !v.IsObject() {
		return v, errors.New("data is neither an object nor a string")
	}
	return v, nil
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
