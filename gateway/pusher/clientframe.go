package pusher

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/tidwall/gjson"
)

// ClientFrame is a message of a client.
type ClientFrame struct {
	// Event is not empty. Event and Channel are copies that may be kept.
	Event   string
	Channel string
	// Data is one JSON value, "" if the member is missing or null. It is a slice of the message, and valid as
	// long as that is not changed. The parsers of this package say which of their results are slices of it too.
	Data string
	// Echo is the member `extras.echo` of a client event, nil if it is missing (protocol section 5.8).
	Echo *bool
	// Ephemeral is the member `extras.ephemeral` of a client event.
	Ephemeral bool
}

// MaxDepth is the maximum nesting of objects and arrays that this package parses. JSON parsers recurse; without
// a bound, a message of only brackets would take a hundred times its size in stack.
const MaxDepth = 128

// ErrTooDeep is returned for JSON that is nested deeper than [MaxDepth].
var ErrTooDeep = fmt.Errorf("the JSON is nested deeper than %d", MaxDepth)

var (
	errNotUTF8   = errors.New("the message is not UTF-8")
	errNotJSON   = errors.New("the message is not JSON")
	errNotObject = errors.New("the message is not a JSON object")
)

// ParseClientFrame parses a message (protocol section 1.2). The caller must not change b while the data of the
// frame is in use: copying a large message, which may be refused, costs more than parsing it. With an error, the
// frame has the event and the channel as far as they can be read, so that the error can be answered there.
func ParseClientFrame(b []byte) (ClientFrame, error) {
	text := unsafe.String(unsafe.SliceData(b), len(b))
	root, err := object(text)
	if err == ErrTooDeep {
		return about(gjson.Parse(text)), err
	}
	if err != nil {
		return ClientFrame{}, err
	}
	var event, channel, data, extras gjson.Result
	members(root, member{"event", &event}, member{"channel", &channel}, member{"data", &data}, member{"extras", &extras})
	if event.Type != gjson.String || event.Str == "" {
		return ClientFrame{}, errors.New("event is missing or not a string")
	}
	f := ClientFrame{Event: strings.Clone(event.Str)}
	switch channel.Type {
	case gjson.String:
		f.Channel = strings.Clone(channel.Str)
	case gjson.Null:
	default:
		return about(root), errors.New("channel is not a string")
	}
	f.Data = raw(data)
	if echo := extras.Get("echo"); extras.IsObject() && (echo.Type == gjson.True || echo.Type == gjson.False) {
		on := echo.Bool()
		f.Echo = &on
	}
	f.Ephemeral = extras.IsObject() && extras.Get("ephemeral").Type == gjson.True
	return f, nil
}

// about reads the event and the channel of a frame that is refused.
func about(root gjson.Result) ClientFrame {
	channel := root.Get("data.channel")
	if channel.Type != gjson.String {
		channel = root.Get("channel")
	}
	return ClientFrame{Event: strings.Clone(root.Get("event").Str), Channel: strings.Clone(channel.Str)}
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

// tooDeep reports whether the nesting exceeds [MaxDepth]. For a text that is not JSON the result means nothing.
// Most texts have too few brackets for that, which is quick to see.
func tooDeep(text string) bool {
	if strings.Count(text, "[")+strings.Count(text, "{") <= MaxDepth {
		return false
	}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			n := stringEnd(text[i+1:])
			if n < 0 {
				return false
			}
			i += 1 + n
		case '[', '{':
			if depth++; depth > MaxDepth {
				return true
			}
		case ']', '}':
			depth--
		}
	}
	return false
}

// stringEnd returns the index of the quote that ends a string, -1 if there is none. rest is the text after the
// opening quote. Searching for quotes and then looking at the bytes before them is several times as fast as
// looking at each byte.
func stringEnd(rest string) int {
	for i := 0; ; i++ {
		n := strings.IndexByte(rest[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		escapes := 0
		for escapes < i && rest[i-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i
		}
	}
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

// payload returns the data of a protocol event: an object, or a string that contains one. Missing data is an
// empty object. data comes from a [ClientFrame], so it is valid JSON.
func payload(data string) (gjson.Result, error) {
	if data == "" {
		return gjson.Parse("{}"), nil
	}
	v := gjson.Parse(data)
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

// member is a member of an object to be read.
type member struct {
	name  string
	value *gjson.Result
}

// members reads several members of an object in one pass, which matters if the values are large. Of equal names
// the first counts. Missing members are left unchanged.
func members(v gjson.Result, wanted ...member) {
	v.ForEach(func(name, value gjson.Result) bool {
		for _, m := range wanted {
			if m.name == name.Str && !m.value.Exists() {
				*m.value = value
			}
		}
		return true
	})
}

// elements returns the first elements of a list, at most limit, and the number of all. gjson's results for all
// of them may be forty times as large as their text.
func elements(list gjson.Result, limit int) (first []gjson.Result, n int) {
	list.ForEach(func(_, e gjson.Result) bool {
		if n++; n <= limit {
			first = append(first, e)
		}
		return true
	})
	return first, n
}

// raw returns the text of a value that this package passes on unparsed, "" if it is missing or null.
func raw(v gjson.Result) string {
	if v.Type == gjson.Null {
		return ""
	}
	return v.Raw
}

// text returns the value of an optional string member.
func text(m gjson.Result, name string) (string, error) {
	switch m.Type {
	case gjson.String:
		return m.Str, nil
	case gjson.Null:
		return "", nil
	default:
		return "", fmt.Errorf("%s is not a string", name)
	}
}
